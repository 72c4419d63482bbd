"""Deviation guidance: move away from what is already in the set (IGD, ICLR 2025; kept by LGD)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lgd.config import GuidanceConfig
from lgd.diffusion.types import Denoiser, Prediction, Step

from .learnability import in_window
from .vectors import along_noise, unit


def nearest_memory(x_t: Tensor, memory: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Of each sample's memory (M, C, H, W), the latent nearest to it by cosine.

    Returns m* (B, C, H, W), the cosine (B,) and whether there is any memory (B,).
    """
    nearest, cosines = torch.zeros_like(x_t), x_t.new_zeros(len(x_t))
    known = torch.tensor([len(m) > 0 for m in memory], device=x_t.device)
    for i, m in enumerate(memory):
        if len(m):
            cos = F.cosine_similarity(x_t[i].flatten()[None], m.flatten(1))  # (M,)
            best = cos.argmax()
            nearest[i], cosines[i] = m[best], cos[best]
    return nearest, cosines, known


def cosine_gradient(x: Tensor, m: Tensor) -> Tensor:
    """d cos(x, m) / dx = (m / ||m|| - cos x / ||x||) / ||x||, per sample, (B, C, H, W); finite also where x is zero."""
    x_, m_ = x.flatten(1), m.flatten(1)
    length = x_.norm(dim=1, keepdim=True)
    length = length.where(length > 0, 1)  # zero has no direction to leave in
    x_unit, m_unit = x_ / length, F.normalize(m_, dim=1)
    cos = (x_unit * m_unit).sum(1, keepdim=True)
    return ((m_unit - cos * x_unit) / length).view_as(x)


def deviation_guided(inner: Denoiser, memory: Sequence[Tensor], config: GuidanceConfig) -> Denoiser:
    """Wrap a denoiser so that samples lower their cosine to the nearest latent in memory.

    memory: one (M, C, H, W) per sample, M may be 0. Noise space: eps' = eps + gamma sqrt(1 - abar) ||eps||
    unit(grad cos); sample space: x_{t-1} -= gamma grad cos, as the lineage does.
    """
    if config.deviation == 0 or not any(len(m) for m in memory):
        return inner

    def guided(x_t: Tensor, step: Step) -> Prediction:
        prediction = inner(x_t, step)
        if not in_window(step, config):
            return prediction
        nearest, _, known = nearest_memory(x_t, memory)
        away = -cosine_gradient(x_t, nearest) * known.view(-1, 1, 1, 1)
        if config.space == "noise":
            return along_noise(prediction, unit(away), config.deviation, step)
        return prediction.shifted(config.deviation * away)

    return guided
