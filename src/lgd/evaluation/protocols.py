"""The field's evaluation protocols as training configurations (docs/protocols.md)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lgd.config import EvaluationConfig, TrainingConfig
from lgd.errors import UserError, nearest

if TYPE_CHECKING:
    from lgd.classifiers.layers import Shape

EPOCHS = ((1, 3000), (10, 2000), (50, 1500), (200, 1000), (500, 500))
"""hard labels: (up to so many images per class, epochs)"""
MOST_EPOCHS_BEYOND = 300
SMALL = 64
"""largest image side, in pixels, with the small-image form of a protocol"""


@dataclass(frozen=True)
class Protocol:
    """A way to train the networks that evaluate a set."""

    summary: str
    training: Callable[[EvaluationConfig, int, Shape, int], TrainingConfig]
    """from the configuration, images per class, the images' (C, H, W) and the number of classes; a temperature above
    0, whatever the set, makes it a soft-label protocol, which needs a teacher"""


def training_for(config: EvaluationConfig, ipc: int, shape: Shape, classes: int) -> TrainingConfig:
    """Return the training of a set of `ipc` images per class by the configured protocol.

    The protocol's epochs are scaled by `epochs_factor`, to at least one. Errors: UserError for an unknown protocol.
    """
    if config.protocol not in PROTOCOLS:
        raise UserError(f"evaluation.protocol: unknown {config.protocol!r}{nearest(config.protocol, PROTOCOLS)}")
    training = PROTOCOLS[config.protocol].training(config, ipc, shape, classes)
    return replace(training, epochs=max(1, round(training.epochs * config.epochs_factor)))


def configured(config: EvaluationConfig, ipc: int, shape: Shape, classes: int) -> TrainingConfig:
    """Return `classifier.training` unchanged."""
    return config.classifier.training


def minimax(config: EvaluationConfig, ipc: int, shape: Shape, classes: int) -> TrainingConfig:
    """Return the hard-label training of Minimax Diffusion: SGD, with another setting above 100 classes."""
    training = replace(hard(config, ipc, shape), optimizer="sgd")
    if classes > 100:
        return replace(training, learning_rate=0.1, weight_decay=1e-4, batch_size=128)
    return replace(training, learning_rate=0.01, weight_decay=5e-4)


def igd(config: EvaluationConfig, ipc: int, shape: Shape, classes: int) -> TrainingConfig:
    """Return the hard-label training of IGD: AdamW."""
    return replace(hard(config, ipc, shape), optimizer="adamw", learning_rate=1e-3, weight_decay=0.01)


def hard(config: EvaluationConfig, ipc: int, shape: Shape) -> TrainingConfig:
    """Return the training that the hard-label protocols share, all but the optimiser."""
    training = replace(
        config.classifier.training,
        epochs=hard_epochs(ipc),
        batch_size=64,
        schedule="step",
        decay_norms=True,
        cutmix=True,
        patch_shuffle=0,
        temperature=0.0,
    )
    return for_large_images(training, shape, crop_scale=0.5, colour_jitter=0.4, lighting=0.1)


def hard_epochs(ipc: int) -> int:
    """Return the epochs of the hard-label protocols at `ipc` images per class."""
    return next((epochs for limit, epochs in EPOCHS if ipc <= limit), MOST_EPOCHS_BEYOND)


def soft(config: EvaluationConfig, ipc: int, shape: Shape, classes: int) -> TrainingConfig:
    """Return RDED's soft-label training: shuffled patches, resized crops, CutMix, a teacher at temperature 20."""
    training = replace(
        config.classifier.training,
        epochs=300,
        batch_size=100 if ipc <= 10 else 200,
        optimizer="adamw",
        learning_rate=1e-3,
        schedule="half-cosine",
        weight_decay=0.01,
        decay_norms=False,
        crop_padding=0,
        crop_scale=0.5,
        colour_jitter=0.0,
        lighting=0.0,
        patch_shuffle=2,
        cutmix=True,
        temperature=20.0,
    )
    return for_large_images(training, shape)


def for_large_images(training: TrainingConfig, shape: Shape, **more: Any) -> TrainingConfig:
    """Return the training with the field's augmentation, and `more`, when the shorter side is above 64 pixels.

    Smaller images keep the padding, flips and colours of `classifier.training`: digits must not be flipped.
    """
    if min(shape[1:]) <= SMALL:
        return training
    return replace(training, crop_padding=0, flip=True, imagenet_statistics=True, **more)


PROTOCOLS = {
    "configured": Protocol("evaluation.classifier.training as it is", configured),
    "minimax": Protocol("hard labels, SGD", minimax),
    "igd": Protocol("hard labels, AdamW", igd),
    "soft": Protocol("soft labels of a teacher, as RDED", soft),
}
"""by the name in evaluation.protocol"""
