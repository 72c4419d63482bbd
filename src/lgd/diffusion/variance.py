"""The loss of a learned variance (Nichol and Dhariwal, 2021)."""

from __future__ import annotations

import torch
from torch import Tensor


def variance_loss(share: Tensor, x0hat: Tensor, x0: Tensor, alpha_bars: Tensor, t: Tensor) -> Tensor:
    """Return the KL divergence in bits per value, (B,), of the predicted step x_t -> x_{t-1} from the true posterior.

    share: the extra channels (B, C, H, W), -1 for the posterior's variance and 1 for beta, in logarithms. x0hat: the
    predicted clean sample, which this does not train. alpha_bars: of all training steps; t (B,). The last step, t = 0,
    draws no noise and has no variance to learn: its loss is zero.
    """
    column = (-1, 1, 1, 1)
    abar = alpha_bars[t].view(column)
    previous = alpha_bars[(t - 1).clamp_min(0)].view(column)
    beta = 1 - abar / previous
    posterior = (beta * (1 - previous) / (1 - abar)).clamp_min(1e-20)
    low, high = posterior.log(), beta.clamp_min(1e-20).log()
    log_variance = low + (share + 1) / 2 * (high - low)
    # The means differ by x0 minus its prediction, times x0's coefficient in the posterior's mean.
    distance = previous.sqrt() * beta / (1 - abar) * (x0 - x0hat.detach())
    kl = 0.5 * (log_variance - low - 1 + (low - log_variance).exp() + distance.square() * (-log_variance).exp())
    bits = kl.flatten(1).mean(1) / torch.log(torch.tensor(2.0))
    return bits.where(t > 0, 0.0)
