"""The field's evaluation protocols as training configurations (docs/protocols.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lgd.config import ClassifierConfig, EvaluationConfig, TrainingConfig
from lgd.errors import UserError, nearest

if TYPE_CHECKING:
    from lgd.classifiers.layers import Shape

EPOCHS = ((1, 3000), (10, 2000), (50, 1500), (200, 1000), (500, 500))
"""hard labels: (up to so many images per class, epochs)"""
MOST_EPOCHS_BEYOND = 300
SMALL = 64
"""largest image side, in pixels, with the small-image form of a protocol"""
SOFT_BATCHES = ((50, 100), (10, 50), (1, 10))
"""soft labels, up to 99 classes: (from so many images per class, images in a batch)"""
TINY_IMAGENET = 200
"""classes of Tiny ImageNet, whose soft-label batch is 100 whatever the images per class"""
SOFT_RATES = {
    "vgg11": 5e-4,
    "alexnet": 1e-4,
    "efficientnet_b0": 2e-3,
    "mobilenetv2_100": 2.5e-3,
    "vit_base_patch16_224": 1e-4,
}
"""soft labels: learning rates of the architectures that have another than 1e-3"""


@dataclass(frozen=True)
class Protocol:
    """A way to train the networks that evaluate a set."""

    summary: str
    training: Callable[[EvaluationConfig, int, Shape, int], TrainingConfig]
    """from the configuration, images per class, the images' (C, H, W) and the number of classes; a temperature above
    0, whatever the set, makes it a soft-label protocol, which needs a teacher"""
    network: Mapping[str, Any] = field(default_factory=dict)
    """fields of the classifier that the protocol decides, with their values"""
    resize: Callable[[int], int] | None = None
    """from the side of the images in pixels, the shorter side that test images are resized to before their centre of
    that side is cut out; none: the side itself"""


def network_for(config: EvaluationConfig, architecture: str, ipc: int, shape: Shape, classes: int) -> ClassifierConfig:
    """Return the network of an architecture and its training by the configured protocol. Errors: as `training_for`."""
    classifier = replace(config.classifier, architecture=architecture, **protocol_named(config.protocol).network)
    training = training_for(replace(config, classifier=classifier), ipc, shape, classes)
    return replace(classifier, training=training)


def training_for(config: EvaluationConfig, ipc: int, shape: Shape, classes: int) -> TrainingConfig:
    """Return the training of a set of `ipc` images per class by the configured protocol.

    The protocol's epochs are scaled by `epochs_factor`, to at least one. Errors: UserError for an unknown protocol.
    """
    training = protocol_named(config.protocol).training(config, ipc, shape, classes)
    return replace(training, epochs=max(1, round(training.epochs * config.epochs_factor)))


def protocol_named(name: str) -> Protocol:
    """Return the protocol. Errors: UserError for an unknown one."""
    if name not in PROTOCOLS:
        raise UserError(f"evaluation.protocol: unknown {name!r}{nearest(name, PROTOCOLS)}")
    return PROTOCOLS[name]


def configured(config: EvaluationConfig, ipc: int, shape: Shape, classes: int) -> TrainingConfig:
    return config.classifier.training


def minimax(config: EvaluationConfig, ipc: int, shape: Shape, classes: int) -> TrainingConfig:
    """Return the hard-label training of Minimax Diffusion: SGD, with other rates above 100 classes."""
    rate, decay = (0.1, 1e-4) if classes > 100 else (0.01, 5e-4)
    return replace(hard(config, ipc, shape, classes), optimizer="sgd", learning_rate=rate, weight_decay=decay)


def igd(config: EvaluationConfig, ipc: int, shape: Shape, classes: int) -> TrainingConfig:
    """Return the hard-label training of IGD: AdamW."""
    return replace(hard(config, ipc, shape, classes), optimizer="adamw", learning_rate=1e-3, weight_decay=0.01)


def hard(config: EvaluationConfig, ipc: int, shape: Shape, classes: int) -> TrainingConfig:
    """Return the training that the hard-label protocols share, all but the optimiser."""
    training = replace(
        config.classifier.training,
        epochs=hard_epochs(ipc, classes),
        batch_size=128 if classes > 100 else 64,
        schedule="step",
        decay_norms=True,
        cutmix=True,
        patch_shuffle=0,
        temperature=0.0,
    )
    return for_large_images(training, shape, crop_scale=0.5, colour_jitter=0.4, lighting=0.1)


def hard_epochs(ipc: int, classes: int) -> int:
    """Return the hard-label epochs at `ipc`; at exactly 100 classes two thirds of them, in whole hundreds."""
    epochs = next((epochs for limit, epochs in EPOCHS if ipc <= limit), MOST_EPOCHS_BEYOND)
    return 2 * epochs // 300 * 100 if classes == 100 else epochs


def soft(config: EvaluationConfig, ipc: int, shape: Shape, classes: int) -> TrainingConfig:
    """Return RDED's soft-label training: CutMix, labels of a teacher at temperature 20, half a cosine.

    Above 64 pixels patches are shuffled and crops resized: RDED makes images of four patches there, of one below.
    """
    large = min(shape[1:]) > SMALL
    training = replace(
        config.classifier.training,
        epochs=300,
        batch_size=soft_batch(ipc, classes),
        optimizer="adamw",
        learning_rate=SOFT_RATES.get(config.classifier.architecture, 1e-3),
        schedule="half-cosine",
        weight_decay=0.01,
        decay_norms=False,
        crop_padding=0,
        crop_scale=0.5 if large else 0.0,
        colour_jitter=0.0,
        lighting=0.0,
        patch_shuffle=2 if large else 0,
        cutmix=True,
        temperature=20.0,
        shards=1,
        imagenet_statistics=True,
    )
    return for_large_images(training, shape)


def soft_batch(ipc: int, classes: int) -> int:
    """Return the batch of the soft-label protocol: twice as many images from 100 classes on, never more than the set.

    RDED has 1, 10 and 50 images per class; any other number takes the batch of the next smaller one.
    """
    batch = next(batch for least, batch in SOFT_BATCHES if ipc >= least) * (2 if classes >= 100 else 1)
    return min(100 if classes == TINY_IMAGENET else batch, ipc * classes)


def for_large_images(training: TrainingConfig, shape: Shape, **more: Any) -> TrainingConfig:
    """Return the training with the field's augmentation, and `more`, when the shorter side is above 64 pixels.

    Smaller images keep the padding, flips and colours of `classifier.training`: digits must not be flipped.
    """
    if min(shape[1:]) <= SMALL:
        return training
    return replace(training, crop_padding=0, flip=True, imagenet_statistics=True, **more)


PROTOCOLS = {
    "configured": Protocol("evaluation.classifier.training as it is", configured),
    "minimax": Protocol("hard labels, SGD", minimax, {"grey_padding": 3}),
    "igd": Protocol("hard labels, AdamW", igd, {"grey_padding": 3}),
    "soft": Protocol(
        "soft labels of a teacher, after RDED",
        soft,
        {"norm": "batch", "grey_padding": 3},
        resize=lambda side: side // 7 * 8,
    ),
}
"""by the name in evaluation.protocol"""
