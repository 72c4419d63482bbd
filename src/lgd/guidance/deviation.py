"""Deviation guidance: move samples away from images already in the set (IGD, ICLR 2025; kept by LGD)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lgd.config import GuidanceConfig
from lgd.diffusion.sampler import predicted
from lgd.diffusion.types import Denoiser, Prediction, Step

from .learnability import in_window
from .vectors import along_noise, unit


@dataclass(frozen=True)
class Memory:
    """The latents that each of B samples avoids, padded to the largest number of them, M."""

    latents: Tensor
    """flattened, (B, M, D)"""
    directions: Tensor
    """the latents scaled to length one, (B, M, D)"""
    present: Tensor
    """false where there is padding, (B, M)"""


def padded(memory: Sequence[Tensor]) -> Memory:
    """Join one (M, C, H, W) per sample; M may differ and be 0, but not for all."""
    longest = max(memory, key=len)
    latents = longest.new_zeros(len(memory), len(longest), longest[0].numel())
    for padded_row, m in zip(latents, memory, strict=True):
        if len(m):
            padded_row[: len(m)] = m.flatten(1)
    lengths = torch.tensor([[len(m)] for m in memory], device=latents.device)
    present = torch.arange(len(longest), device=latents.device) < lengths
    return Memory(latents, F.normalize(latents, dim=2), present)


def nearest_memory(x_t: Tensor, memory: Memory) -> tuple[Tensor, Tensor, Tensor]:
    """Return each sample's nearest latent m* (B, C, H, W), its cosine (B,) and whether there is one (B,)."""
    x = F.normalize(x_t.flatten(1), dim=1)
    cos = (memory.directions @ x[:, :, None]).squeeze(2).masked_fill(~memory.present, float("-inf"))  # (B, M)
    best = cos.argmax(1, keepdim=True)
    nearest = memory.latents.gather(1, best[:, :, None].expand(-1, -1, x.shape[1])).view_as(x_t)
    known = memory.present.any(1)
    return nearest, cos.gather(1, best).squeeze(1).where(known, 0.0), known


def cosine_gradient(x: Tensor, m: Tensor) -> Tensor:
    """Return d cos(x, m) / dx = (m / ||m|| - cos x / ||x||) / ||x|| per sample, (B, C, H, W); finite where x is 0."""
    x_, m_ = x.flatten(1), m.flatten(1)
    length = x_.norm(dim=1, keepdim=True)
    length = length.where(length > 0, 1)
    x_unit, m_unit = x_ / length, F.normalize(m_, dim=1)
    cos = (x_unit * m_unit).sum(1, keepdim=True)
    return ((m_unit - cos * x_unit) / length).view_as(x)


def deviation_guided(inner: Denoiser, memory: Sequence[Tensor], config: GuidanceConfig) -> Denoiser:
    """Wrap a denoiser so that samples lower their cosine to the nearest latent in memory.

    memory: one (M, C, H, W) per sample, M may be 0, with the type and device of the samples. Noise space:
    eps' = eps + gamma sqrt(1 - abar) ||eps|| unit(grad cos). Sample space, as in IGD's code:
    x_{t-1} -= gamma grad cos.
    """
    if config.deviation == 0 or not any(len(m) for m in memory):
        return inner

    stored, strength = padded(memory), config.deviation * config.every

    def guided(x_t: Tensor, step: Step) -> Prediction:
        prediction = predicted(inner, x_t, step)
        if not in_window(step, config):
            return prediction
        nearest, _, known = nearest_memory(x_t, stored)
        away = -cosine_gradient(x_t, nearest) * known.view(-1, 1, 1, 1)
        if config.space == "noise":
            return along_noise(prediction, unit(away), strength, step)
        return prediction.shifted(strength * away)

    return guided
