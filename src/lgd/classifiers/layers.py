"""Layers that the architectures share: normalisation, pooling, and the limit on halving small images."""

from collections.abc import Callable

from torch import Tensor, nn

Shape = tuple[int, int, int]
"""(C, H, W)"""


Norm = Callable[[int], nn.Module]
"""channels to a normalisation layer"""


def instance_norm(channels: int) -> nn.GroupNorm:
    """Return GroupNorm with one channel per group and an affine part: the field's "instance" norm."""
    return nn.GroupNorm(channels, channels)


NORMS: dict[str, Norm] = {"instance": instance_norm, "batch": nn.BatchNorm2d}
"""by the name in a classifier's configuration"""


class HalvingPool(nn.AvgPool2d):
    """AvgPool2d(2), which torch computes pixel by pixel on the CPU: a quarter of a ConvNet's training.

    There rows are added first and then columns, in vector instructions: the same to rounding and 2.4 times as fast
    (benchmarks/profile.md). A last odd row or column is left out, as torch does.
    """

    def __init__(self) -> None:
        super().__init__(2)

    def forward(self, input: Tensor) -> Tensor:
        """Pool (B, C, H, W) to (B, C, H // 2, W // 2)."""
        if input.is_cuda:
            return super().forward(input)
        height, width = input.shape[-2:]
        rows = input[..., 0 : height - 1 : 2, :] + input[..., 1::2, :]
        return 0.25 * (rows[..., 0 : width - 1 : 2] + rows[..., 1::2])


def average_pool(factor: int) -> nn.Module:
    """Average squares of `factor` by `factor` pixels; a factor of 1 changes nothing."""
    return HalvingPool() if factor == 2 else nn.AvgPool2d(factor) if factor > 1 else nn.Identity()


def can_halve(side: int) -> bool:
    """Return whether halving leaves at least 2 x 2 pixels.

    The instance norm of a single pixel is zero whatever the pixel: a block behind it would be dead. So the published
    networks, made for 32 pixels and more, leave out on smaller images the halvings that would end there.
    """
    return side // 2 >= 2


def side_of(shape: Shape) -> int:
    return min(shape[1:])
