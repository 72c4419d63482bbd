"""The quantity that a denoiser predicts from x_t = sqrt(abar) x0 + sqrt(1 - abar) eps, by diffusers' names.

`epsilon` is the noise (Ho et al., 2020), `sample` is x0, `v_prediction` is v = sqrt(abar) eps - sqrt(1 - abar) x0
(Salimans and Ho, 2022). Noise fills every direction of a patch, images do not: a network that is narrow for its patches
learns x0 sooner (Li and He, 2025; measured in benchmarks/image-folders.md).

`flow_prediction` is the velocity u = eps - x0 of the straight path z = (1 - sigma) x0 + sigma eps (Lipman et al.,
2023). z is x_t divided by sqrt(abar) + sqrt(1 - abar), if sigma = sqrt(1 - abar) / (sqrt(abar) + sqrt(1 - abar)); so
the network is a denoiser of a rescaled x_t (docs/generators.md derives it).
"""

from typing import Any

import torch
from torch import Tensor

KINDS = ("epsilon", "sample", "v_prediction")
FLOW = "flow_prediction"
FLOW_TIME = 1000
"""a flow's network is told sigma times this, as in diffusers' FlowMatchEulerDiscreteScheduler"""


def target(x0: Tensor, eps: Tensor, alpha_bar: Tensor, kind: str) -> Tensor:
    """Return the output that the denoiser learns, (B, C, H, W); alpha_bar (B, 1, 1, 1)."""
    if kind == "sample":
        return x0
    if kind == "v_prediction":
        return alpha_bar**0.5 * eps - (1 - alpha_bar) ** 0.5 * x0
    return eps - x0 if kind == FLOW else eps


def x0_and_eps(output: Tensor, x_t: Tensor, alpha_bar: Tensor | float, kind: str) -> tuple[Tensor, Tensor]:
    """Return the clean sample and the noise that a denoiser's output implies at x_t, both (B, C, H, W).

    alpha_bar: one for all or (B, 1, 1, 1). With s = sqrt(abar) and n = sqrt(1 - abar), x_t = s x0 + n eps gives
    `epsilon`: x0 = (x_t - n eps) / s. `sample`: eps = (x_t - s x0) / n. `v_prediction`, with v = s eps - n x0:
    x0 = s x_t - n v and eps = s v + n x_t. `flow_prediction`, with z = x_t / (s + n) and sigma = n / (s + n):
    x0 = z - sigma u and eps = z + (1 - sigma) u.
    """
    s, n = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
    if kind == FLOW:
        return (x_t - n * output) / (s + n), (x_t + s * output) / (s + n)
    if kind == "sample":
        return output, (x_t - s * output) / n
    if kind == "v_prediction":
        return s * x_t - n * output, s * output + n * x_t
    return (x_t - n * output) / s, output


def min_snr_weights(snr: Tensor, gamma: float, kind: str, offset: float = 0.0) -> Tensor:
    """Return factors (B,) on the squared error of the denoiser's output, for signal-to-noise ratios (B,).

    min(SNR + offset, gamma) on the error of x0 (Hang et al., 2023), whose error is 1 / SNR times that of the noise and
    1 / (SNR + 1) times that of v and 1 / (sqrt(SNR) + 1)^2 = sigma^2 times that of a flow's velocity.
    """
    per_error = {
        "epsilon": snr,
        "sample": torch.ones_like(snr),
        "v_prediction": snr + 1,
        FLOW: (snr.sqrt() + 1).square(),
    }
    return (snr + offset).clamp(max=gamma) / per_error[kind]


def network_input(x_t: Tensor, t: Any, alpha_bar: Any, kind: str) -> tuple[Tensor, Any]:
    """Return the network's input (B, C, H, W) at x_t, and the time that it is told.

    t and alpha_bar: numbers, or tensors whose shapes broadcast to that of x_t; the time is of the same kind.
    """
    if kind != FLOW:
        return x_t, t
    s, n = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
    return x_t / (s + n), FLOW_TIME * n / (s + n)
