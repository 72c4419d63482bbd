"""Validity against difficulty: an image is worth having if it is hard and still what its label says (section 6.4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lgd.classifiers.architectures import Classifier, predict
from lgd.data.imageset import ImageSet

DOUBTFUL = 0.5
"""reference probability of the true class below which an image is an outlier"""


@dataclass(frozen=True)
class Validity:
    """What the reference says of the images of one increment."""

    probability: list[float]
    """of the true class, one per image"""
    valid: float
    """percent that the reference classifies as labelled"""
    outliers: float
    """percent with a probability below `DOUBTFUL`"""


def validity(part: ImageSet, reference: Classifier) -> Validity:
    """Judge one increment by the reference classifier."""
    probabilities = predict(reference, part).softmax(1)  # (N, classes)
    p = probabilities.gather(1, part.labels[:, None])[:, 0]
    valid = 100 * (probabilities.argmax(1) == part.labels).double().mean().item()
    return Validity(p.tolist(), valid, 100 * (p < DOUBTFUL).double().mean().item())


def correlation(x: list[float], y: list[float]) -> float | None:
    """Pearson's, None for fewer than three points or a constant."""
    pairs = torch.tensor([x, y], dtype=torch.double)
    if pairs.shape[1] < 3 or bool((pairs.std(1) == 0).any()):
        return None
    return torch.corrcoef(pairs)[0, 1].item()
