"""ResNet-8, ResNet-18 and ResNetAP-10 as the field trains them, with stems by image size.

ResNetAP ("average pooling") does every strided convolution with stride 1 and averages 2 x 2 pixels afterwards.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from .layers import Norm, Shape, average_pool, can_halve, instance_norm, side_of

WIDTHS = (64, 128, 256, 512)
NARROW = (16, 32, 64)  # of the ResNets for small images (He et al., CVPR 2016, section 4.2)
SMALL, MIDDLE = 64, 128  # largest image sides, in pixels, that take the small and the middle stem


class Block(nn.Module):
    """BasicBlock: two 3x3 convolutions and the shortcut; the first halves the image where `stride` is 2."""

    def __init__(self, channels: int, width: int, stride: int, pooled: bool, norm: Norm = instance_norm) -> None:
        super().__init__()
        step, pool = (1, stride) if pooled else (stride, 1)
        self.conv1 = nn.Conv2d(channels, width, 3, stride=step, padding=1, bias=False)
        self.norm1 = norm(width)
        self.pool = average_pool(pool)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = norm(width)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or channels != width:
            project = nn.Conv2d(channels, width, 1, stride=step, bias=False)
            self.shortcut = nn.Sequential(project, average_pool(pool), norm(width))

    def forward(self, x: Tensor) -> Tensor:
        out = self.pool(F.relu(self.norm1(self.conv1(x))))
        out = self.norm2(self.conv2(out))
        return F.relu(out + self.shortcut(x))


def resnet18(shape: Shape, classes: int, norm: Norm = instance_norm) -> nn.Sequential:
    """Build ResNet-18: blocks [2, 2, 2, 2]; stem conv3x3, with max-pooling 3/2 above 64 pixels, conv7x7/2 above 128."""
    channels, side = shape[0], side_of(shape)
    stem = small_stem(channels, 64, norm)
    if side > MIDDLE:
        stem[0] = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
        side = (side + 1) // 2
    if side_of(shape) > SMALL:
        stem.append(nn.MaxPool2d(3, stride=2, padding=1))
        side = (side + 1) // 2
    return resnet(stem, side, [(width, 2) for width in WIDTHS], classes, norm, pooled=False)


def resnetap10(shape: Shape, classes: int, norm: Norm = instance_norm) -> nn.Sequential:
    """Build ResNetAP-10: blocks [1, 1, 1, 1].

    Stem: conv7x7 and average pooling 4 above 128 pixels, conv3x3 and pooling 2 above 64, conv3x3 below.
    """
    channels, side = shape[0], side_of(shape)
    stem, factor = small_stem(channels, 64, norm), 1
    if side > MIDDLE:
        factor = 4
        stem[0] = nn.Conv2d(channels, 64, 7, padding=3, bias=False)
    elif side > SMALL:
        factor = 2
    if factor > 1:
        stem.append(average_pool(factor))
    return resnet(stem, side // factor, [(width, 1) for width in WIDTHS], classes, norm, pooled=True)


def resnet8(shape: Shape, classes: int, norm: Norm = instance_norm) -> nn.Sequential:
    """Build ResNet-8, the ResNet of 6n + 2 layers for small images with n = 1: widths 16, 32, 64.

    Stem: conv3x3, with average pooling 2 above 64 pixels and 4 above 128 [ours].
    """
    channels, side = shape[0], side_of(shape)
    factor = 4 if side > MIDDLE else 2 if side > SMALL else 1
    stem = [*small_stem(channels, NARROW[0], norm), average_pool(factor)]
    return resnet(stem, side // factor, [(width, 1) for width in NARROW], classes, norm, pooled=False)


def small_stem(channels: int, width: int, norm: Norm) -> list[nn.Module]:
    return [nn.Conv2d(channels, width, 3, padding=1, bias=False), norm(width), nn.ReLU(inplace=True)]


def resnet(
    stem: Sequence[nn.Module], side: int, stages: Sequence[tuple[int, int]], classes: int, norm: Norm, pooled: bool
) -> nn.Sequential:
    """Build stages of (width, blocks) behind a stem that leaves `side` pixels, average pooling and the head."""
    layers: list[nn.Module] = []
    channels = stages[0][0]
    for stage, (width, count) in enumerate(stages):
        stride = 2 if stage and can_halve(side) else 1
        side //= stride
        layers += [Block(channels, width, stride, pooled, norm)]
        layers += [Block(width, width, 1, pooled, norm) for _ in range(count - 1)]
        channels = width
    network = nn.Sequential(*stem, *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):  # as in the published code
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network
