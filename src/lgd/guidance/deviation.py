"""Deviation guidance: move away from what is already in the set (IGD, ICLR 2025; kept by LGD)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lgd.config import GuidanceConfig
from lgd.diffusion.types import Denoiser, Prediction, Step

from .learnability import in_window
from .vectors import along_noise, unit


@dataclass(frozen=True)
class Memory:
    """The latents that each of B samples keeps away from, padded to the largest number of them, M."""

    latents: Tensor
    """(B, M, D), flat"""
    directions: Tensor
    """of length one, (B, M, D)"""
    present: Tensor
    """(B, M), false where there is only padding"""


def padded(memory: Sequence[Tensor], like: Tensor) -> Memory:
    """From one (M, C, H, W) per sample, where M may differ and be 0; like: a batch of samples (B, C, H, W)."""
    B, M, D = len(memory), max(len(m) for m in memory), like[0].numel()
    latents = like.new_zeros(B, M, D)
    present = torch.zeros(B, M, dtype=torch.bool)
    for i, m in enumerate(memory):
        if len(m):
            latents[i, : len(m)] = m.flatten(1).to(like)
            present[i, : len(m)] = True
    return Memory(latents, F.normalize(latents, dim=2), present.to(like.device))


def nearest_memory(x_t: Tensor, memory: Memory) -> tuple[Tensor, Tensor, Tensor]:
    """Of each sample's memory, the latent nearest to it by cosine.

    Returns m* (B, C, H, W), the cosine (B,) and whether there is any memory (B,).
    """
    x = F.normalize(x_t.flatten(1), dim=1)
    cos = (memory.directions @ x[:, :, None]).squeeze(2).masked_fill(~memory.present, float("-inf"))  # (B, M)
    best = cos.argmax(1, keepdim=True)
    nearest = memory.latents.gather(1, best[:, :, None].expand(-1, -1, x.shape[1])).view_as(x_t)
    known = memory.present.any(1)
    return nearest, cos.gather(1, best).squeeze(1).where(known, 0.0), known


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

    known_to: dict[tuple[torch.dtype, torch.device], Memory] = {}
    strength = config.deviation * config.every

    def guided(x_t: Tensor, step: Step) -> Prediction:
        prediction = inner(x_t, step)
        if not in_window(step, config):
            return prediction
        kind = (x_t.dtype, x_t.device)
        if kind not in known_to:
            known_to[kind] = padded(memory, x_t)
        nearest, _, known = nearest_memory(x_t, known_to[kind])
        away = -cosine_gradient(x_t, nearest) * known.view(-1, 1, 1, 1)
        if config.space == "noise":
            return along_noise(prediction, unit(away), strength, step)
        return prediction.shifted(strength * away)

    return guided
