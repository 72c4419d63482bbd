"""Sample with any diffusers scheduler and any denoiser, such as one of the user's own network."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lgd.errors import NonFiniteError, UserError, nearest

from .prediction_type import FLOW, KINDS, network_input, x0_and_eps
from .types import Denoiser, Prediction, Step


@dataclass(frozen=True)
class Start:
    """Latents from which sampling starts, once they are noised: x_t = sqrt(abar) z + sqrt(1 - abar) eps."""

    latents: Tensor
    """z, (B, C, H, W)"""
    index: int
    """of the first step"""


def steps_of(scheduler: Any) -> list[Step]:
    """List the steps of the respaced schedule, noisiest first. `scheduler.set_timesteps` must have been called."""
    timesteps = [int(t) for t in scheduler.timesteps]
    alpha_bars = [float(scheduler.alphas_cumprod[t]) for t in timesteps]
    columns = zip(reversed(range(len(timesteps))), timesteps, alpha_bars, [*alpha_bars[1:], 1.0], strict=True)
    return [Step(*column) for column in columns]


@torch.no_grad()
def sample(
    denoiser: Denoiser,
    scheduler: Any,
    noise: Tensor,
    generators: Sequence[torch.Generator] | None = None,
    start: Start | None = None,
) -> Tensor:
    """Run the scheduler from `noise` (B, C, H, W), or from noised latents, to samples of the same shape.

    The scheduler is given eps or x0, as its `prediction_type` (epsilon or sample) asks. generators: one per image, for
    schedulers that add noise in every step. Errors: NonFiniteError naming the step.
    """
    x_t, steps = noise * scheduler.init_noise_sigma, steps_of(scheduler)
    if start is not None:
        steps = [step for step in steps if step.index <= start.index]
        x_t = steps[0].alpha_bar ** 0.5 * start.latents + (1 - steps[0].alpha_bar) ** 0.5 * noise
    for step in steps:
        prediction = predicted(denoiser, scheduler.scale_model_input(x_t, step.timestep), step)
        x_t = next_sample(scheduler, prediction, step, x_t, generators)
        if not torch.isfinite(x_t).all():
            raise NonFiniteError(f"sampling: NaN or infinite values at step index {step.index} (t = {step.timestep})")
    return x_t


def next_sample(
    scheduler: Any, prediction: Prediction, step: Step, x_t: Tensor, generators: Sequence[torch.Generator] | None
) -> Tensor:
    """Return x_{t-1}, shifted where the prediction says so, from x_t (B, C, H, W)."""
    takes_generator = "generator" in inspect.signature(scheduler.step).parameters
    extra = {"generator": list(generators)} if takes_generator and generators is not None else {}
    output = prediction.x0 if scheduler.config.prediction_type == "sample" else prediction.eps
    if str(scheduler.config.get("variance_type")).startswith("learned") and prediction.variance is not None:
        output = torch.cat([output, prediction.variance], dim=1)  # (B, 2C, H, W)
    following = scheduler.step(output, step.timestep, x_t, **extra).prev_sample
    return following if prediction.shift is None else following + prediction.shift


def denoiser_of(network: Callable[[Tensor, Tensor], Tensor], predicts: str = "epsilon") -> Denoiser:
    """Return the denoiser of any network: (x_t (B, C, H, W), timesteps (B,)) to an output of x_t's shape.

    predicts: the output's meaning, by diffusers' names: epsilon, sample, v_prediction or flow_prediction
    (prediction_type.py). Errors: UserError for another name; in sampling, for an output of another shape.
    """
    if predicts not in (*KINDS, FLOW):
        raise UserError(f"predicts: unknown {predicts!r}{nearest(predicts, (*KINDS, FLOW))}")

    def denoise(x_t: Tensor, step: Step) -> Prediction:
        x, time = network_input(x_t, step.timestep, step.alpha_bar, predicts)
        output = network(x, torch.full((len(x),), time, device=x.device))
        if not isinstance(output, Tensor) or output.shape != x_t.shape:
            raise shape_error("network", output, x_t)
        return Prediction(*x0_and_eps(output, x_t, step.alpha_bar, predicts))

    return denoise


def predicted(denoiser: Denoiser, x_t: Tensor, step: Step) -> Prediction:
    """Return the denoiser's prediction at x_t (B, C, H, W). Errors: UserError for anything of another shape."""
    prediction = denoiser(x_t, step)
    if not isinstance(prediction, Prediction):
        raise UserError(
            f"denoiser: returned {type(prediction).__name__}; expected lgd.guidance.Prediction(x0, eps), which"
            " lgd.guidance.denoiser_of makes of a network's output"
        )
    for name in ("x0", "eps"):
        if (part := getattr(prediction, name)).shape != x_t.shape:
            raise shape_error(f"denoiser: {name}", part, x_t)
    return prediction


def shape_error(what: str, given: object, x_t: Tensor) -> UserError:
    shape = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
    return UserError(f"{what}: returned {shape} for x_t {tuple(x_t.shape)}; expected the shape of x_t")
