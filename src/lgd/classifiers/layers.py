"""What the architectures share: the field's normalisation, and how often a small image can be halved."""

from __future__ import annotations

from torch import nn

Shape = tuple[int, int, int]
"""(C, H, W)"""


def norm(channels: int) -> nn.GroupNorm:
    """GroupNorm with one channel a group and an affine part: the field's "instance" norm."""
    return nn.GroupNorm(channels, channels)


def can_halve(side: int) -> bool:
    """Whether a halving leaves at least 2 x 2 pixels.

    The instance norm of a single pixel is zero whatever the pixel: a block behind it would be dead. So the published
    networks, made for 32 pixels and more, leave out on smaller images the halvings that would end there.
    """
    return side // 2 >= 2


def side_of(shape: Shape) -> int:
    """The shorter side in pixels."""
    return min(shape[1:])
