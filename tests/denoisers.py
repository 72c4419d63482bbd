"""Predictions for tests."""

from __future__ import annotations

from torch import Tensor

from lgd.diffusion.types import Prediction, Step


def of_noise(eps: Tensor, x_t: Tensor, step: Step, variance: Tensor | None = None) -> Prediction:
    """The prediction of a denoiser that predicts eps."""
    return Prediction((x_t - (1 - step.alpha_bar) ** 0.5 * eps) / step.alpha_bar**0.5, eps, variance)
