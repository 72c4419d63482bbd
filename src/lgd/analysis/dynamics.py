"""Learning dynamics: how sure a classifier becomes of each sample over training (method.md, section 6.3).

Mean and deviation over epochs are the confidence and variability of Dataset Cartography (Swayamdipta et al., EMNLP
2020); the borders between the three shares are ours and stand in `BORDERS`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lgd.config import ClassifierConfig
from lgd.data.imageset import ImageSet
from lgd.rng import derive_seed

from .continual import ContinualLearner

BINS = (10, 10)
"""of the histogram: mean over [0, 1] times deviation over [0, 0.5]"""


LEAST_STEPS = 20
"""optimiser steps in an epoch, so that small sets are learned for as long as large ones"""


@dataclass(frozen=True)
class Borders:
    """A sample is informative where its probability moved, else easy or hard by where it stayed."""

    deviation: float = 0.25
    """half of the largest that is possible"""
    mean: float = 0.5


BORDERS = Borders()


def learning_dynamics(
    train: ImageSet, real: ImageSet, config: ClassifierConfig, epochs: int, seed: int, device: str
) -> tuple[Tensor, Tensor]:
    """Mean and population deviation over `epochs` epochs of each sample's true-class probability, (N,) each.

    The probability is taken after every epoch on the stored image, without augmentation. real: its channel statistics
    normalise the input.
    """
    pupil = ContinualLearner(config, real, derive_seed("analysis", "dynamics", seed), "learning dynamics", device)
    rows = [
        pupil.logits(train).softmax(1).gather(1, train.labels[:, None])[:, 0]  # (N,)
        for _ in pupil.learn(train, epochs, LEAST_STEPS)
    ]
    p = torch.stack(rows)  # (epochs, N)
    return p.mean(0), p.std(0, correction=0)


def shares(mean: Tensor, deviation: Tensor) -> dict[str, float]:
    """Percent of easy, informative and hard samples; they add up to 100."""
    informative = deviation >= BORDERS.deviation
    easy = ~informative & (mean >= BORDERS.mean)
    hard = ~informative & (mean < BORDERS.mean)
    named = (("easy", easy), ("informative", informative), ("hard", hard))
    return {name: 100 * flags.double().mean().item() for name, flags in named}


def histogram(mean: Tensor, deviation: Tensor) -> Tensor:
    """Share of samples in each cell of `BINS`, (bins of the mean, bins of the deviation); adds up to 1."""
    row = (mean * BINS[0]).long().clamp(0, BINS[0] - 1)
    column = (deviation * 2 * BINS[1]).long().clamp(0, BINS[1] - 1)
    counts = (row * BINS[1] + column).bincount(minlength=BINS[0] * BINS[1])
    return counts.double().view(BINS) / len(mean)


def jensen_shannon(p: Tensor, q: Tensor) -> float:
    """Jensen-Shannon divergence of two distributions of one shape, in bits: 0 for equal, 1 for disjoint ones."""
    middle = (p + q) / 2
    both = [torch.special.xlogy(r, r / middle.clamp_min(1e-300)).sum() for r in (p, q)]
    return ((both[0] + both[1]) / 2 / torch.log(torch.tensor(2.0).double())).clamp(0, 1).item()
