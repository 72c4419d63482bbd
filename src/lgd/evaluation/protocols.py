"""The field's evaluation protocols as training configurations (docs/protocols.md)."""

from __future__ import annotations

from dataclasses import replace

from lgd.classifiers.layers import Shape, side_of
from lgd.config import EvaluationConfig, TrainingConfig

EPOCHS = ((1, 3000), (10, 2000), (50, 1500), (200, 1000), (500, 500))
"""hard labels: (up to so many images per class, epochs)"""
MOST_EPOCHS_BEYOND = 300
SMALL = 64
"""largest image side, in pixels, with the small-image form of a protocol"""


def hard_epochs(ipc: int) -> int:
    """Epochs of the hard-label protocols at `ipc` images per class."""
    return next((epochs for limit, epochs in EPOCHS if ipc <= limit), MOST_EPOCHS_BEYOND)


def training_for(config: EvaluationConfig, ipc: int, shape: Shape, classes: int) -> TrainingConfig:
    """How a set of `ipc` images per class is trained on, by the protocol's name.

    Epochs are scaled by `epochs_factor`, to at least one. Small images (up to 64 pixels) keep a protocol's optimiser,
    schedule and CutMix; how they are padded and flipped is the data's affair and stays as configured in
    `classifier.training` (digits must not be flipped), and colours stay.
    """
    training = config.classifier.training
    if config.protocol != "configured":
        large = side_of(shape) > SMALL
        if config.protocol == "soft":
            training = soft(training, ipc)
        else:
            training = hard(training, config.protocol, ipc, classes)
            if large:
                training = replace(training, crop_scale=0.5, colour_jitter=0.4, lighting=0.1)
        if large:
            training = replace(training, crop_padding=0, flip=True, imagenet_statistics=True)
    return replace(training, epochs=max(1, round(training.epochs * config.epochs_factor)))


def hard(training: TrainingConfig, optimiser: str, ipc: int, classes: int) -> TrainingConfig:
    """Hard labels: the optimiser `minimax` (SGD; another setting over 100 classes) or `igd` (AdamW), CutMix, steps."""
    training = replace(
        training,
        epochs=hard_epochs(ipc),
        batch_size=64,
        schedule="step",
        decay_norms=True,
        cutmix=True,
        patch_shuffle=0,
        temperature=0.0,
    )
    if optimiser == "igd":
        return replace(training, optimizer="adamw", learning_rate=1e-3, weight_decay=0.01)
    if classes > 100:
        return replace(training, optimizer="sgd", learning_rate=0.1, weight_decay=1e-4, batch_size=128)
    return replace(training, optimizer="sgd", learning_rate=0.01, weight_decay=5e-4)


def soft(training: TrainingConfig, ipc: int) -> TrainingConfig:
    """Soft labels as RDED's: shuffled patches, resized crops, CutMix, a teacher at temperature 20, half a cosine."""
    return replace(
        training,
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
