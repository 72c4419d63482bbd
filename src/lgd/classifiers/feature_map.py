"""The last feature map of a classifier, with which a generator may be aligned."""

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from lgd.config import ClassifierConfig
from lgd.errors import UserError
from lgd.rng import seeded_initialisation

from .architectures import Classifier, new_classifier
from .layers import Shape


def feature_map(classifier: Classifier, images: Tensor) -> Tensor:
    """Return the last map (B, C, h, w) of more than one place that a classifier makes of images (B, C, H, W).

    Errors: UserError for a network without one.
    """
    found: list[Tensor] = []

    def keep(layer: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[-1] > 1:
            found[:] = [output]
        elif isinstance(output, Tensor) and output.ndim == 3:
            found.clear()  # tokens follow, as in a ViT, whose only map is that of its patches

    with ExitStack() as hooks:
        for layer in classifier.network.modules():
            hooks.enter_context(layer.register_forward_hook(keep))
        classifier(images)
    if not found:
        raise UserError("generator.align: the reference ends without a feature map; choose a convolutional one")
    return found[0]


def map_shape(config: ClassifierConfig, shape: Shape, classes: int) -> Shape:
    """Return the shape (C, h, w) of a classifier's last feature map, without its weights. Errors: as `feature_map`."""
    with torch.device("meta"), seeded_initialisation(0), torch.no_grad():
        one = torch.ones(shape[0])
        classifier = new_classifier(config, shape, classes, one, one)
        _, channels, height, width = feature_map(classifier, torch.empty(1, *shape)).shape
    return channels, height, width
