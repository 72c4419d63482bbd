"""Alignment of a generator's tokens with a classifier's feature maps (REPA; Yu et al., ICLR 2025).

A network that learns to denoise learns on the way what is in an image. A classifier of the same images knows that
already, so the tokens in the middle of the denoiser are trained to predict the classifier's last feature map.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from lgd.rng import seeded_initialisation

from .latents import LatentSource
from .packed import Packed


class Alignment(nn.Module):
    """The projection of tokens onto a classifier's feature maps, and its loss. It is trained with the denoiser."""

    tokens: Tensor
    """(B, T, D) of the denoiser's last call, after half of its blocks"""

    def __init__(self, maps: LatentSource, denoiser: Any, packed: Packed | None, weight: float, seed: int) -> None:
        """Start with fresh weights. maps: those of all images, and of their mirror images if any."""
        super().__init__()
        self.maps, self.weight = maps, weight
        width, channels = denoiser.inner_dim, maps.shape[0]
        with seeded_initialisation(seed, "alignment"):
            self.project = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, channels))
        self.last = max(1, len(denoiser.transformer_blocks) // 2) - 1
        if packed is not None:
            packed.watch = self.keep
        else:
            block = denoiser.transformer_blocks[self.last]
            block.register_forward_hook(lambda block, inputs, output: self.keep(self.last, output))

    def keep(self, block: int, tokens: Tensor) -> None:
        """Take note of the tokens (B, T, D) that a block of the denoiser, counted from 0, has made."""
        if block == self.last:
            self.tokens = tokens

    def loss(self, positions: Tensor, flipped: Tensor | None) -> Tensor:
        """Return the weight times 1 - cos between projected tokens and maps, mean over tokens and images (B,)."""
        wanted = self.wanted(positions, flipped, self.tokens.shape[1]).to(self.tokens.device)
        return self.weight * (1 - F.cosine_similarity(self.project(self.tokens.float()), wanted, dim=-1).mean())

    def wanted(self, positions: Tensor, flipped: Tensor | None, count: int) -> Tensor:
        """Return the normalised maps of images by position (B,) as vectors (B, count, C), one per token."""
        side = round(count**0.5)
        return F.adaptive_avg_pool2d(self.maps.latents(positions, flipped), (side, side)).flatten(2).transpose(1, 2)
