"""Flow-matching transformers: a DiT that predicts a velocity, with diffusers' FlowMatchEulerDiscreteScheduler.

The network sees z = (1 - sigma) x0 + sigma eps and predicts u = eps - x0. As z is a multiple of an x_t
(prediction_type.py), its noise levels make an ordinary schedule: with r = (1 - sigma) / sigma, abar = r^2 / (r^2 + 1).
On it, DDIM's step from one sigma to another is Euler's step of the flow.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lgd.errors import UserError

from ..prediction_type import FLOW as FLOW_PREDICTION
from ..prediction_type import FLOW_TIME
from .dit import DIT

SCHEDULER = "FlowMatchEulerDiscreteScheduler"
MOST_NOISE = 2.0**-12
"""least share of signal to noise, 1 - sigma to sigma: guidance divides by it"""
UNSUPPORTED = ("use_dynamic_shifting", "invert_sigmas", "shift_terminal")


def noise_levels(steps: int, shift: float) -> Tensor:
    """Return sigma at training steps 0 to steps - 1, in double precision: (t + 1) / steps, shifted as SD3 does."""
    sigma = torch.arange(1, steps + 1, dtype=torch.float64) / steps
    return shift * sigma / (1 + (shift - 1) * sigma)


def schedule(config: Mapping[str, Any], where: Path) -> dict[str, Any]:
    """Return a DDPM schedule with a flow's noise levels. Errors: UserError for levels that depend on more."""
    other = [name for name in UNSUPPORTED if config.get(name)]
    steps = config.get("num_train_timesteps", FLOW_TIME)
    if other or steps != FLOW_TIME:
        what = other[0] if other else f"num_train_timesteps {steps}"
        raise UserError(f"{where}: {what} is not supported; a flow's noise levels are taken from shift alone")
    sigma = noise_levels(steps, float(config.get("shift", 1.0)))
    ratio = ((1 - sigma) / sigma).clamp_min(MOST_NOISE)
    alpha_bar = ratio**2 / (1 + ratio**2)
    before = torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar[:-1]])
    betas = (1 - alpha_bar / before).tolist()
    return {
        "num_train_timesteps": steps,
        "trained_betas": betas,
        "prediction_type": FLOW_PREDICTION,
        "clip_sample": False,
    }


FLOW = replace(DIT, summary="class-conditional flow-matching transformer", velocity=True)
