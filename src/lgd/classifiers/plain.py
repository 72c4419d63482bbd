"""VGG-11 and AlexNet in the small-image forms of the field's cross-architecture tables."""

from collections.abc import Sequence

from torch import nn

from .layers import Norm, Shape, can_halve

VGG11 = (
    *((64, 3), "pool", (128, 3), "pool", (256, 3), (256, 3), "pool"),
    *((512, 3), (512, 3), "pool", (512, 3), (512, 3), "pool"),
)
ALEXNET = ((128, 5), "pool", (192, 5), "pool", (256, 3), (192, 3), (192, 3), "pool")
"""(channels, kernel) of a convolution with norm and ReLU, or a max-pooling by 2; a linear head follows"""


def plain(layout: Sequence[str | tuple[int, int]], shape: Shape, classes: int, norm: Norm) -> nn.Sequential:
    """Chain convolutions and poolings, then a linear head on the flattened rest.

    A pooling that would leave less than 2 x 2 pixels to a later norm is left out; see `can_halve`.
    """
    channels, height, width = shape
    layers: list[nn.Module] = []
    for place, item in enumerate(layout):
        if isinstance(item, str):
            last = place == len(layout) - 1
            if can_halve(min(height, width)) or (last and min(height, width) > 1):
                layers.append(nn.MaxPool2d(2))
                height, width = height // 2, width // 2
        else:
            made, kernel = item
            layers += [nn.Conv2d(channels, made, kernel, padding=kernel // 2), norm(made), nn.ReLU(inplace=True)]
            channels = made
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * height * width, classes))
