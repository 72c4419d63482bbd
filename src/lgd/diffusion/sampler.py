"""Draw samples with any diffusers scheduler and any denoiser."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lgd.errors import NonFiniteError

from .types import Denoiser, Prediction, Step

OnStep = Callable[[Step, Tensor, Prediction], None]


def steps_of(scheduler: Any) -> list[Step]:
    """The respaced schedule, noisiest first. `scheduler.set_timesteps` must have been called."""
    timesteps = [int(t) for t in scheduler.timesteps]
    return [
        Step(index, t, float(scheduler.alphas_cumprod[t]))
        for index, t in zip(reversed(range(len(timesteps))), timesteps, strict=True)
    ]


@torch.no_grad()
def sample(
    denoiser: Denoiser,
    scheduler: Any,
    noise: Tensor,
    generators: Sequence[torch.Generator] | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Run the scheduler from `noise` (B, C, H, W) to samples of the same shape.

    generators: one per image, for schedulers that add noise on the way. on_step is called after every step with the
    step, x_{t-1} and the prediction. Errors: NonFiniteError naming the step.
    """
    takes_generator = "generator" in inspect.signature(scheduler.step).parameters
    extra = {"generator": list(generators)} if takes_generator and generators is not None else {}
    takes_variance = str(scheduler.config.get("variance_type")).startswith("learned")
    x_t = noise * scheduler.init_noise_sigma
    for step in steps_of(scheduler):
        prediction = denoiser(scheduler.scale_model_input(x_t, step.timestep), step)
        output = prediction.eps
        if takes_variance and prediction.variance is not None:
            output = torch.cat([output, prediction.variance], dim=1)  # (B, 2C, H, W)
        x_t = scheduler.step(output, step.timestep, x_t, **extra).prev_sample
        if prediction.shift is not None:
            x_t = x_t + prediction.shift
        if not torch.isfinite(x_t).all():
            raise NonFiniteError(f"sampling: NaN or infinite values at step index {step.index} (t = {step.timestep})")
        if on_step is not None:
            on_step(step, x_t, prediction)
    return x_t
