"""The part of the configuration that describes how a set is evaluated."""

from dataclasses import dataclass, field
from typing import Literal

from .classifiers import ClassifierConfig
from .section import Count, Positive, Section, Size, Whole


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
