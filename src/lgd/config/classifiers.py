"""The configuration of classifiers, and of the evaluation, which trains fresh ones on a set."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from .section import Count, Positive, Section, Share, Size, Strength, Whole


@dataclass(frozen=True)
class TrainingConfig(Section):
    """How a classifier is trained."""

    epochs: Count = 100
    """Number of passes over the training images."""
    batch_size: Count = 64
    """Images per optimiser step."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """Optimiser: adamw (decoupled weight decay) or sgd (momentum 0.9)."""
    learning_rate: Positive = 1e-3
    """Learning rate of the first epoch."""
    schedule: Literal["constant", "step", "cosine", "half-cosine"] = "step"
    """Schedule of the learning rate: constant, step (times 0.2 at 2/3 and at 5/6 of the epochs), cosine (to zero) or
    half-cosine (to half of the first rate)."""
    weight_decay: Strength = 0.01
    """Weight decay of the optimiser. 0: none."""
    decay_norms: bool = True
    """Apply weight decay to biases and normalisation layers, too."""
    crop_padding: Whole = 1
    """Padding in pixels before a random crop back to the original size. 0: no padded crop."""
    crop_scale: Share = 0.0
    """Least area of a random resized crop, as a share of the image in [0, 1). 0: no resized crop."""
    flip: bool = False
    """Flip images horizontally at random."""
    colour_jitter: Strength = 0.0
    """Largest relative change of brightness, contrast and saturation. 0: none."""
    lighting: Strength = 0.0
    """Standard deviation of PCA lighting noise on RGB images. 0: none."""
    patch_shuffle: Whole = 0
    """Number of patches per side in a random shuffle of each image's patches; it must divide the image size. 0: no
    shuffle."""
    cutmix: bool = False
    """Apply CutMix to every batch, with a ratio drawn from Beta(1, 1)."""
    temperature: Strength = 0.0
    """Temperature of a teacher's soft labels; only the evaluation has a teacher. 0: hard labels."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of training: float32 or bfloat16 (automatic mixed precision, faster for images above about 28 pixels
    on hardware that has it)."""
    shards: Annotated[int, Field(ge=1, le=1024)] = 1
    """Number of parts of each batch, whose gradients are summed in a fixed order. With --engine ray each part has a
    worker of its own."""
    imagenet_statistics: bool = False
    """Normalise RGB images by ImageNet's mean and standard deviation instead of the training set's."""


@dataclass(frozen=True)
class ClassifierConfig(Section):
    """A classifier and its training."""

    architecture: str = "convnet"
    """Name of the architecture: convnet, resnet8, resnetap10, resnet18, vgg11, alexnet, vit, the import path of a
    function that makes a network, such as my_package.networks:small (docs/python.md), or a model of timm where timm is
    installed."""
    width: Size = 64
    """Channels of a ConvNet; published results use 128. The other architectures have their published widths."""
    depth: Whole = 0
    """Number of blocks of a ConvNet. 0: chosen from the image size. The other architectures have their published
    depths."""
    norm: Literal["instance", "batch"] = "instance"
    """Normalisation layers: instance (GroupNorm with one channel per group, as published results use) or batch
    (BatchNorm). vit and timm's models keep their own."""
    grey_padding: Annotated[int, Field(ge=1, le=16)] = 1
    """Padding in pixels of a ConvNet's first convolution on grey images. Published code has 3, which turns 28 pixels
    into 32."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """How the classifier is trained."""
    seed: Whole = 0
    """Seed of the initial weights and of training, combined with the run's seed; the reference, the judge and the
    surrogate use it alone."""


@dataclass(frozen=True)
class ReferenceConfig(ClassifierConfig):
    """The classifier trained on the whole real set."""

    weights: str = ""
    """safetensors file of an existing classifier of this architecture. Empty: train one."""


@dataclass(frozen=True)
class JudgeConfig(ClassifierConfig):
    """The judge: a second classifier trained on the whole real set, which takes no part in making images."""

    architecture: str = "resnet8"
    """Name of the architecture, another than the reference's: an image that fools one network seldom fools both."""
    norm: Literal["instance", "batch"] = "batch"
    """Normalisation layers: instance or batch."""


@dataclass(frozen=True)
class TeacherConfig(Section):
    """The classifier that gives the soft labels of the soft-label protocol."""

    weights: str = ""
    """safetensors file of a classifier saved by lgd. Empty: the run's reference."""
    architecture: str = "resnet18"
    """Architecture of the classifier in `weights`; the reference has its own."""
    width: Size = 128
    """Channels of a ConvNet in `weights`."""
    depth: Whole = 0
    """Number of blocks of a ConvNet in `weights`. 0: chosen from the image size."""
    norm: Literal["instance", "batch"] = "instance"
    """Normalisation layers of the classifier in `weights`: instance or batch."""
    stored: bool = False
    """Label each image once and store the labels beside the images, instead of labelling every augmented batch."""


@dataclass(frozen=True)
class EvaluationConfig(Section):
    """How a set is evaluated: fresh classifiers are trained on it and tested on real images."""

    protocol: str = "configured"
    """Training protocol, one of those that --help lists (docs/protocols.md)."""
    epochs_factor: Positive = 1.0
    """Factor on the protocol's number of epochs."""
    evaluations: Count = 5
    """Number of tests, evenly spaced, while a classifier trains; the best is reported beside the last."""
    ipc: tuple[Count, ...] = ()
    """Images per class at which to evaluate the set, besides its full size. Empty: after every increment."""
    architectures: tuple[str, ...] = ()
    """Architectures to train on the set; the first gives the headline accuracy. Empty: that of
    evaluation.classifier."""
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    """The classifier that gives the soft labels."""
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    """Architecture and training of the classifiers that are trained on the set."""
    seeds: Count = 5
    """Number of fresh classifiers per architecture and evaluated increment."""
    redundancy_seeds: Whole = 3
    """Number of fresh classifiers per single increment, to measure redundancy. 0: do not measure it."""
