"""What a denoiser is trained to say of x_t = sqrt(abar) x0 + sqrt(1 - abar) eps, by diffusers' names.

`epsilon` is the noise (Ho et al., 2020), `sample` is x0, `v_prediction` is v = sqrt(abar) eps - sqrt(1 - abar) x0
(Salimans and Ho, 2022). Noise fills every direction of a patch, images do not: a network that is narrow for its patches
learns x0 sooner (Li and He, 2025; measured in benchmarks/image-folders.md).
"""

from __future__ import annotations

import torch
from torch import Tensor

KINDS = ("epsilon", "sample", "v_prediction")


def target(x0: Tensor, eps: Tensor, alpha_bar: Tensor, kind: str) -> Tensor:
    """What the denoiser should say, (B, C, H, W); alpha_bar (B, 1, 1, 1)."""
    if kind == "sample":
        return x0
    if kind == "v_prediction":
        return alpha_bar**0.5 * eps - (1 - alpha_bar) ** 0.5 * x0
    return eps


def noise_of(output: Tensor, x_t: Tensor, alpha_bar: Tensor | float, kind: str) -> Tensor:
    """The noise that a denoiser's word on x_t implies, (B, C, H, W); alpha_bar one for all or (B, 1, 1, 1)."""
    if kind == "sample":
        return (x_t - alpha_bar**0.5 * output) / (1 - alpha_bar) ** 0.5
    if kind == "v_prediction":
        return alpha_bar**0.5 * output + (1 - alpha_bar) ** 0.5 * x_t
    return output


def min_snr_weights(snr: Tensor, gamma: float, kind: str) -> Tensor:
    """Factors (B,) on the squared error of what is predicted, for signal-to-noise ratios (B,).

    min(SNR, gamma) on the error of x0 (Hang et al., 2023), whose error is 1 / SNR times that of the noise and
    1 / (SNR + 1) times that of v.
    """
    per_error = {"epsilon": snr, "sample": torch.ones_like(snr), "v_prediction": snr + 1}
    return snr.clamp(max=gamma) / per_error[kind]
