"""Redundancy: how much of one increment a classifier already knows that saw only another (method.md, section 6.1)."""

from __future__ import annotations

from collections.abc import Sequence

from lgd.classifiers.train import accuracy, train_classifier
from lgd.config import ClassifierConfig
from lgd.data.imageset import ImageSet
from lgd.rng import derive_seed


def redundancy_row(
    parts: Sequence[ImageSet], index: int, config: ClassifierConfig, seed: int, device: str
) -> list[float]:
    """Accuracy in percent on every part after training a fresh classifier on `parts[index]` alone, K values.

    The seed gives the same weights and order for every part and set, so that only the images differ.
    """
    derived = derive_seed("analysis", "redundancy", seed)
    classifier = train_classifier(parts[index], config, derived, f"redundancy, increment {index + 1}", device)
    return [accuracy(classifier, part) for part in parts]


def reduction(base: float, other: float) -> float | None:
    """Relative reduction of the mean off the diagonal against `base`, in percent; None where `base` is 0."""
    return 100 * (base - other) / base if base else None
