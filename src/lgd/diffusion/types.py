"""What samplers, denoisers and guidance say to each other.

A denoiser is any function (x_t, step) -> Prediction. Guidance takes a denoiser and returns a denoiser, so that kinds
of guidance nest like brackets and the sampler knows none of them (the idea is k-diffusion's).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor


@dataclass(frozen=True)
class Step:
    """One step of the respaced schedule."""

    index: int
    """steps - 1 (pure noise) down to 0 (the last step)"""
    timestep: int
    """in training steps, 999 down to 0"""
    alpha_bar: float
    """cumulative alpha: the share of signal in the variance of x_t"""


@dataclass(frozen=True)
class Prediction:
    """What a denoiser says about x_t (B, C, H, W)."""

    eps: Tensor
    """predicted noise, (B, C, H, W)"""
    variance: Tensor | None = None
    """the extra channels of a denoiser with learned variance, (B, C, H, W)"""
    shift: Tensor | None = None
    """to be added to x_{t-1} after the scheduler's step, (B, C, H, W); guidance in sample space"""

    def shifted(self, by: Tensor) -> Prediction:
        return replace(self, shift=by if self.shift is None else self.shift + by)


Denoiser = Callable[[Tensor, Step], Prediction]


def predict_x0(x_t: Tensor, eps: Tensor, alpha_bar: float) -> Tensor:
    """The clean sample that x_t and eps imply: (x_t - sqrt(1 - abar) eps) / sqrt(abar)."""
    return (x_t - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
