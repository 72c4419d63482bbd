"""The classifiers by name, and what every one of them can do (docs/protocols.md)."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from lgd.config import ClassifierConfig
from lgd.errors import UserError, nearest

from .convnet import convnet
from .layers import Shape
from .plain import alexnet, vgg11
from .resnet import resnet18, resnetap10
from .vit import vit

ARCHITECTURES: dict[str, Callable[[Shape, int, ClassifierConfig], nn.Sequential]] = {
    "convnet": lambda shape, classes, config: convnet(shape, classes, config.width, config.depth),
    "resnetap10": lambda shape, classes, _: resnetap10(shape, classes),
    "resnet18": lambda shape, classes, _: resnet18(shape, classes),
    "vgg11": lambda shape, classes, _: vgg11(shape, classes),
    "alexnet": lambda shape, classes, _: alexnet(shape, classes),
    "vit": lambda shape, classes, _: vit(shape, classes),
}
"""Each takes (shape, classes, configuration) and returns a Sequential whose last layer is the linear head."""


class Classifier(nn.Module):
    """A network that normalises its own input, so that no caller can forget to.

    Takes images in [0, 1], (B, C, H, W), gives logits (B, classes). `mean` and `std` are per channel and saved with it.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Sequential, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", mean.view(1, -1, 1, 1))
        self.register_buffer("std", std.view(1, -1, 1, 1))

    def normalise(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std

    def forward(self, images: Tensor) -> Tensor:
        return self.network(self.normalise(images))

    def features(self, images: Tensor) -> Tensor:
        """What the last layer sees, (B, D)."""
        return self.network[:-1](self.normalise(images)).flatten(1)


def new_classifier(config: ClassifierConfig, shape: Shape, classes: int, mean: Tensor, std: Tensor) -> Classifier:
    """A classifier with weights from torch's global generator; see `rng.seeded_initialisation`.

    Errors: UserError for an unknown architecture or one that does not fit the image size.
    """
    if config.architecture in ARCHITECTURES:
        network = ARCHITECTURES[config.architecture](shape, classes, config)
    else:
        network = from_timm(config.architecture, shape, classes)
    return Classifier(network, mean, std)


def from_timm(name: str, shape: Shape, classes: int) -> nn.Sequential:
    """Any model of timm, untrained, with a linear head of ours. timm is used where it is installed, never required.

    Errors: UserError when there is no such model, or it does not take images of this shape.
    """
    timm = import_module("timm") if find_spec("timm") else None
    if timm is None or not timm.is_model(name):
        more = "" if timm else "; timm's names are known where timm is installed"
        raise UserError(f"unknown architecture {name!r}{nearest(name, ARCHITECTURES)}{more}")
    try:
        backbone = timm.create_model(name, pretrained=False, num_classes=0, in_chans=shape[0])
        with torch.no_grad():
            features = backbone.eval()(torch.zeros(2, *shape)).shape[1]
    except (RuntimeError, AssertionError, TypeError) as error:
        raise UserError(f"timm's {name} does not take images of {shape}: {str(error).splitlines()[0]}") from None
    return nn.Sequential(backbone.train(), nn.Linear(features, classes))


def channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per channel of uint8 images (N, C, H, W), on the scale of [0, 1]."""
    values = images.transpose(0, 1).flatten(1).double() / 255  # (C, N * H * W)
    return values.mean(1).float(), values.std(1).clamp_min(1e-3).float()


@torch.no_grad()
def predict(classifier: Classifier, images: Tensor, batch_size: int = 512) -> Tensor:
    """Logits (N, classes), on the CPU, of float images in [0, 1]."""
    device = classifier.mean.device
    return torch.cat([classifier(part.to(device)).cpu() for part in images.split(batch_size)])


@torch.no_grad()
def features_of(classifier: Classifier, images: Tensor, batch_size: int = 512) -> Tensor:
    """Features (N, D), on the CPU, of float images in [0, 1]."""
    device = classifier.mean.device
    return torch.cat([classifier.features(part.to(device)).cpu() for part in images.split(batch_size)])
