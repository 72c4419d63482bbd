"""The configuration of classifiers: learner, reference, surrogate and evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from .types import Count, Positive, Share, Size, Strength, Whole


@dataclass(frozen=True)
class TrainingConfig:
    """How a classifier is trained."""

    epochs: Count = 100
    batch_size: Count = 64
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """adamw: weight decay decoupled; sgd: momentum 0.9"""
    learning_rate: Positive = 1e-3
    schedule: Literal["constant", "step", "cosine", "half-cosine"] = "step"
    """step: x 0.2 at 2/3 and 5/6 of the epochs; cosine: to zero; half-cosine: to half the start rate"""
    weight_decay: Strength = 0.01
    decay_norms: bool = True
    """weight decay on biases and norms, too"""
    crop_padding: Whole = 1
    """pixels of padding before a random crop back to size"""
    crop_scale: Share = 0.0
    """least area of a random crop that is resized back; 0: no such crop"""
    flip: bool = False
    """random horizontal flip"""
    colour_jitter: Strength = 0.0
    """most change of brightness, contrast and saturation; 0: none"""
    lighting: Strength = 0.0
    """standard deviation of PCA lighting, for RGB images; 0: none"""
    patch_shuffle: Whole = 0
    """shuffle a grid of so many by so many patches; 0: none"""
    cutmix: bool = False
    """CutMix on every batch, Beta(1, 1)"""
    temperature: Strength = 0.0
    """of a teacher's soft labels; 0: learn from the hard labels"""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: automatic mixed precision, faster above about 28 pixels where the processor computes in it"""
    shards: Annotated[int, Field(ge=1, le=1024)] = 1
    """parts of each batch, whose gradients are added in order; with --engine ray every part has a worker of its own"""
    imagenet_statistics: bool = False
    """normalise RGB images by ImageNet's mean and deviation, not the training set's"""


@dataclass(frozen=True)
class ClassifierConfig:
    """A classifier and its training."""

    architecture: str = "convnet"
    width: Size = 64
    """channels of a ConvNet (the field: 128)"""
    depth: Whole = 0
    """blocks of a ConvNet; 0 chooses by image size. The other architectures have their published widths and depths"""
    norm: Literal["instance", "batch"] = "instance"
    """instance: GroupNorm with a channel a group, as the field's; batch: BatchNorm. vit and timm's keep their own"""
    grey_padding: Annotated[int, Field(ge=1, le=16)] = 1
    """pixels around grey images for the first convolution of a ConvNet (the field: 3, which makes 32 of 28 pixels)"""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    seed: Whole = 0
    """added to the run's seed; the reference does not depend on the run's seed"""


@dataclass(frozen=True)
class ReferenceConfig(ClassifierConfig):
    """The classifier that was trained on the whole real set."""

    weights: str = ""
    """safetensors file of a classifier of this architecture that is there already; empty: train one"""
