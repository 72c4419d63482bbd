"""Networks of the recorded comparisons that the package does not have (evaluation.architectures = "networks:NAME")."""

from __future__ import annotations

from torch import nn

from lgd.classifiers.layers import instance_norm
from lgd.classifiers.resnet import resnet, small_stem


def resnet18_quarter(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Build ResNet-18 with a quarter of its channels (16 to 128), for images of (C, H, W) up to 64 pixels."""
    stem = small_stem(shape[0], 16, instance_norm)
    return resnet(stem, shape[1], [(width, 2) for width in (16, 32, 64, 128)], classes, instance_norm, pooled=False)
