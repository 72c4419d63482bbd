"""The registry of classifier architectures, and predictions and features of any classifier (docs/protocols.md)."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib import import_module
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from lgd.config import ClassifierConfig
from lgd.data.imageset import ImageSet, to_float
from lgd.errors import UserError, first_line, nearest

from .convnet import convnet
from .layers import NORMS, Shape
from .plain import ALEXNET, VGG11, plain
from .resnet import resnet8, resnet18, resnetap10
from .vit import vit

ARCHITECTURES: dict[str, Callable[[Shape, int, ClassifierConfig], nn.Sequential]] = {
    "convnet": lambda shape, classes, config: convnet(
        shape, classes, config.width, config.depth, NORMS[config.norm], config.grey_padding if shape[0] == 1 else 1
    ),
    "resnet8": lambda shape, classes, config: resnet8(shape, classes, NORMS[config.norm]),
    "resnetap10": lambda shape, classes, config: resnetap10(shape, classes, NORMS[config.norm]),
    "resnet18": lambda shape, classes, config: resnet18(shape, classes, NORMS[config.norm]),
    "vgg11": lambda shape, classes, config: plain(VGG11, shape, classes, NORMS[config.norm]),
    "alexnet": lambda shape, classes, config: plain(ALEXNET, shape, classes, NORMS[config.norm]),
    "vit": lambda shape, classes, _: vit(shape, classes),
}
"""Architectures by name: from (shape, classes, configuration) to a Sequential whose last layer is the linear head."""

MOST_FOR_STATISTICS = 10_000
"""largest number of images for the mean and standard deviation of a set"""


class Classifier(nn.Module):
    """A network that normalises its own input, so that no caller can forget to.

    Takes images in [0, 1], (B, C, H, W), gives logits (B, classes). `mean` and `std` are per channel and saved with it.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", mean.view(1, -1, 1, 1))
        self.register_buffer("std", std.view(1, -1, 1, 1))

    def normalise(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std

    def forward(self, images: Tensor) -> Tensor:
        return self.network(self.normalise(images))

    def features(self, images: Tensor) -> Tensor:
        """Return the input of the head, (B, D). Errors: as `inspect`."""
        return self.inspect(images)[1]

    def inspect(self, images: Tensor) -> tuple[nn.Linear, Tensor, Tensor]:
        """Return the last linear layer, its input (B, D) and the logits (B, classes). Errors: UserError without one."""
        found: list[tuple[nn.Linear, Tensor]] = []
        with ExitStack() as hooks:
            for layer in self.network.modules():
                if isinstance(layer, nn.Linear):
                    hook = layer.register_forward_pre_hook(lambda layer, inputs: found.append((layer, inputs[0])))
                    hooks.enter_context(hook)
            logits = self(images)
        if not found:
            raise UserError(f"{type(self.network).__name__}: no linear layer, whose input would be the features")
        head, features = found[-1]
        return head, features.flatten(1), logits


def new_classifier(config: ClassifierConfig, shape: Shape, classes: int, mean: Tensor, std: Tensor) -> Classifier:
    """Build a classifier with weights from torch's global generator. Errors: UserError for one that does not fit."""
    network: nn.Module
    if config.architecture in ARCHITECTURES:
        network = ARCHITECTURES[config.architecture](shape, classes, config)
    elif ":" in config.architecture:
        network = from_factory(config.architecture, shape, classes)
    else:
        network = from_timm(config.architecture, shape, classes)
    return Classifier(network, mean, std)


def from_factory(path: str, shape: Shape, classes: int) -> nn.Module:
    """Build a network of the user's: package.module:factory, called with ((C, H, W), classes).

    The network takes normalised images (B, C, H, W) and gives logits (B, classes). Errors: UserError for a factory
    that cannot be imported or called, or makes no network of this many logits.
    """
    module, _, name = path.partition(":")
    try:
        factory = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{path}: cannot be imported: {error}; install its module or add it to PYTHONPATH") from None
    with torch.device("cpu"):
        try:
            network = factory(shape, classes)
            if not isinstance(network, nn.Module):
                raise UserError(f"{path}: returned {type(network).__name__} for {shape}, {classes}; expected nn.Module")
            with torch.no_grad():
                logits = network.eval()(torch.zeros(2, *shape))
        except (RuntimeError, TypeError, ValueError, AssertionError) as error:
            if isinstance(error, UserError):
                raise
            told = f"{path}: failed on images of {shape} with {classes} classes"
            raise UserError(f"{told}: {first_line(error)}") from None
    if not isinstance(logits, Tensor) or logits.shape != (2, classes):
        given = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UserError(f"{path}: returned {given} for 2 images of {shape}; expected logits (2, {classes})")
    return network.train()


def from_timm(name: str, shape: Shape, classes: int) -> nn.Sequential:
    """Build any model of timm, untrained, with a linear head of ours; timm is optional. Errors: UserError."""
    timm = import_module("timm") if find_spec("timm") else None
    if timm is None or not timm.is_model(name):
        more = "" if timm else "; timm's names are known where timm is installed"
        raise UserError(f"unknown architecture {name!r}{nearest(name, ARCHITECTURES)}{more}")
    try:
        backbone = timm.create_model(name, pretrained=False, num_classes=0, in_chans=shape[0])
        with torch.no_grad():
            features = backbone.eval()(torch.zeros(2, *shape)).shape[1]
    except (RuntimeError, AssertionError, TypeError) as error:
        raise UserError(f"timm's {name} does not take images of {shape}: {first_line(error)}") from None
    return nn.Sequential(backbone.train(), nn.Linear(features, classes))


def channel_statistics(images: ImageSet) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation per channel, on the scale of [0, 1]; a large set is sampled evenly."""
    chosen = torch.linspace(0, len(images) - 1, min(len(images), MOST_FOR_STATISTICS)).long()
    counts = torch.zeros(images.shape[0], 256, dtype=torch.long)
    for batch in images.stream(chosen.split(batch_size_for(images.shape))):
        counts += torch.stack([channel.flatten().bincount(minlength=256) for channel in batch.unbind(1)]).cpu()
    values, weights = torch.arange(256).double() / 255, counts.double()
    n = weights.sum(1)
    mean = (weights * values).sum(1) / n
    variance = (weights * (values - mean[:, None]) ** 2).sum(1) / (n - 1)
    return mean.float(), variance.sqrt().clamp_min(1e-3).float()


def batch_size_for(shape: Shape) -> int:
    """Return the batch size for images of (C, H, W): 512 small ones, fewer large ones, so that memory is bounded."""
    return max(1, min(512, 2**20 // (shape[1] * shape[2])))


def on_device(classifier: Classifier, images: ImageSet) -> Iterator[Tensor]:
    """Yield all images in [0, 1] in batches, on the classifier's device."""
    for batch in images.batches(batch_size_for(images.shape)):
        yield to_float(batch.to(classifier.mean.device))


@torch.no_grad()
def predict(classifier: Classifier, images: ImageSet) -> Tensor:
    """Compute logits (N, classes), on the CPU."""
    return torch.cat([classifier(x).cpu() for x in on_device(classifier, images)])


@torch.no_grad()
def features_and_logits(classifier: Classifier, images: ImageSet) -> tuple[Tensor, Tensor]:
    """Compute the features before the last layer, (N, D), and the logits, (N, classes), on the CPU in one pass."""
    parts = [classifier.inspect(x)[1:] for x in on_device(classifier, images)]
    features, logits = (torch.cat([part.cpu() for part in column]) for column in zip(*parts, strict=True))
    return features, logits


def features_of(classifier: Classifier, images: ImageSet) -> Tensor:
    """Compute the features before the last layer, (N, D), on the CPU."""
    return torch.cat(list(feature_batches(classifier, images)))


def feature_batches(classifier: Classifier, images: ImageSet) -> Iterator[Tensor]:
    """Yield `features_of` batch by batch, for sets whose features do not fit into memory."""
    for x in on_device(classifier, images):
        with torch.no_grad():
            yield classifier.features(x).cpu()
