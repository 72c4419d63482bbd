"""A small vision transformer (Dosovitskiy et al., ICLR 2021), for tables across kinds of networks."""

import torch
from torch import Tensor, nn

from lgd.errors import UserError

from .layers import Shape, side_of

WIDTH, HEADS, BLOCKS = 192, 3, 6


class Patches(nn.Module):
    """Turn images (B, C, H, W) into tokens (B, N, WIDTH): a strided convolution and a learned position."""

    def __init__(self, shape: Shape, patch: int) -> None:
        super().__init__()
        channels, height, width = shape
        self.project = nn.Conv2d(channels, WIDTH, patch, stride=patch)
        self.position = nn.Parameter(0.02 * torch.randn(1, (height // patch) * (width // patch), WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return self.project(x).flatten(2).transpose(1, 2) + self.position


class MeanToken(nn.Module):
    """Average tokens (B, N, D) to (B, D)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


def patch_size(side: int) -> int:
    """Return the side of a patch: 16 pixels from 224, else an eighth of the image's side, at least 2."""
    return 16 if side >= 224 else max(2, side // 8)


def vit(shape: Shape, classes: int) -> nn.Sequential:
    """Build six pre-norm blocks of width 192 with three heads, the mean of the tokens, one linear layer; no dropout.

    Errors: UserError for an image smaller than one patch.
    """
    patch = patch_size(side_of(shape))
    if side_of(shape) < patch:
        raise UserError(f"a vision transformer needs images of at least {patch} pixels a side, not {side_of(shape)}")
    blocks = [
        nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        for _ in range(BLOCKS)
    ]
    return nn.Sequential(Patches(shape, patch), *blocks, nn.LayerNorm(WIDTH), MeanToken(), nn.Linear(WIDTH, classes))
