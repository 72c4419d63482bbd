"""ConvNet-d, the field's standard learner."""

from torch import nn

from lgd.errors import UserError

from .layers import HalvingPool, Norm, Shape, instance_norm, side_of


def convnet_depth(size: int) -> int:
    """Return the number of blocks by image side: 2 at 8 and 16, 3 at 28 and 32, 4 at 64, 5 at 128, 6 from 224."""
    return next((depth for limit, depth in ((27, 2), (63, 3), (127, 4), (223, 5)) if size <= limit), 6)


def convnet(
    shape: Shape, classes: int, width: int, depth: int, norm: Norm = instance_norm, padding: int = 1
) -> nn.Sequential:
    """Build a ConvNet-d: d blocks of conv3x3, norm, ReLU, AvgPool2; then one linear layer.

    padding: of the first convolution. Errors: UserError when the image is too small to be halved `depth` times.
    """
    channels, height, width_ = shape
    depth = depth or convnet_depth(side_of(shape))
    if side_of(shape) >> depth < 1:
        raise UserError(f"a ConvNet of depth {depth} is too deep for images of {width_} x {height}")
    layers: list[nn.Module] = []
    for block in range(depth):
        layers += [
            nn.Conv2d(width if block else channels, width, 3, padding=1 if block else padding),
            norm(width),
            nn.ReLU(inplace=True),
            HalvingPool(),
        ]
    height, width_ = (side + 2 * (padding - 1) >> depth for side in (height, width_))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width * height * width_, classes))
