"""Shared types of samplers, denoisers and guidance.

A denoiser is any function (x_t, step) -> Prediction. Guidance takes a denoiser and returns a denoiser, so that kinds
of guidance nest like brackets and the sampler knows none of them (the idea is k-diffusion's).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor


@dataclass(frozen=True)
class Step:
    """One step t -> t-1 of the respaced schedule."""

    index: int
    """steps - 1 (pure noise) down to 0 (the last step)"""
    timestep: int
    """in training steps, 999 down to 0"""
    alpha_bar: float
    """abar_t, the cumulative alpha: the share of signal in the variance of x_t"""
    alpha_bar_after: float = 1.0
    """abar_{t-1}, the cumulative alpha of the following step; 1 after the last"""


@dataclass(frozen=True)
class Prediction:
    """A denoiser's estimates of both parts of x_t = sqrt(abar) x0 + sqrt(1 - abar) eps.

    Each follows from the other at a known x_t; both are kept, so that nobody converts one into the other.
    """

    x0: Tensor
    """clean sample, (B, C, H, W)"""
    eps: Tensor
    """noise, (B, C, H, W)"""
    variance: Tensor | None = None
    """the extra channels of a denoiser with learned variance, (B, C, H, W)"""
    shift: Tensor | None = None
    """added to x_{t-1} after the scheduler's step, (B, C, H, W); guidance in sample space"""

    def minus_noise(self, delta: Tensor, step: Step) -> Self:
        """Subtract delta (B, C, H, W) from eps and move x0 along, so that both still make up x_t.

        x_t = sqrt(abar) x0 + sqrt(1 - abar) eps stays, hence x0' = x0 + sqrt(1 - abar) delta / sqrt(abar).
        """
        x0 = self.x0 + (1 - step.alpha_bar) ** 0.5 * delta / step.alpha_bar**0.5
        return replace(self, x0=x0, eps=self.eps - delta)

    def shifted(self, by: Tensor) -> Self:
        return replace(self, shift=by if self.shift is None else self.shift + by)

    def detached(self) -> Self:
        """Return the same numbers without their autograd graph."""
        return replace(self, **{name: part.detach() for name, part in vars(self).items() if part is not None})


Denoiser = Callable[[Tensor, Step], Prediction]
