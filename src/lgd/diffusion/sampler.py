"""Sample with any diffusers scheduler and any denoiser."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lgd.errors import NonFiniteError

from .denoiser import predicted
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
