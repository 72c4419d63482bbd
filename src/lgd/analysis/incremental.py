"""Incremental training: what each increment adds for one learner that keeps training (method.md, section 6.2)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from lgd.config import ClassifierConfig
from lgd.data.imageset import ImageSet, concatenate
from lgd.rng import derive_seed

from .continual import ContinualLearner

LEAST_STEPS = 5
"""optimiser steps in an epoch: enough to learn a small increment before the next arrives"""


def train_incrementally(
    parts: Sequence[ImageSet],
    real: ImageSet,
    test: ImageSet,
    config: ClassifierConfig,
    epochs: int,
    seed: int,
    device: str,
) -> dict[str, Any]:
    """Train one learner `epochs` epochs on I_1, then `epochs` more on I_1 and I_2, and so on.

    real: its channel statistics normalise the input. test: the real judging set.

    Returns the mean training loss in nats on what has arrived (`curve`: once on arrival and after every epoch), the
    `before` and `after` of each arrival with their difference (`jump`, K - 1 values), test accuracy in percent at the
    end of each stage (`accuracy`, K), its differences (`gain`, K - 1), and each new image's loss just before the
    learner first trains on it (`difficulty`, one list per increment after the first).
    """
    pupil = ContinualLearner(config, real, derive_seed("analysis", "incremental", seed), "incremental training", device)
    curve: list[float] = []
    before, after, accuracies, difficulty = [], [], [], []
    for k, part in enumerate(parts):
        union = concatenate(parts[: k + 1])
        arrival = pupil.losses(union)
        if k:
            before.append(curve[-1])
            after.append(arrival.mean().item())
            difficulty.append(arrival[-len(part) :].tolist())
        curve.append(arrival.mean().item())
        curve += [pupil.losses(union).mean().item() for _ in pupil.learn(union, epochs, LEAST_STEPS)]
        accuracies.append(pupil.accuracy(test))
    return {
        "curve": curve,
        "before": before,
        "after": after,
        "jump": [b - a for a, b in zip(before, after, strict=True)],
        "accuracy": accuracies,
        "gain": [b - a for a, b in pairwise(accuracies)],
        "difficulty": difficulty,
    }
