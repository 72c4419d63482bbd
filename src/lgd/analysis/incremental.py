"""Incremental training: what each increment adds for one learner that keeps training (method.md, section 6.2)."""

from collections.abc import Mapping
from itertools import chain, pairwise
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from lgd.classifiers.architectures import Classifier, predict
from lgd.classifiers.train import accuracy
from lgd.data.imageset import ImageSet, concatenate
from lgd.evaluation.aggregate import summary

from .context import Inputs
from .continual import ContinualLearner
from .measure import Cells, Groups, Headline, Measure, Style

LEAST_STEPS = 5
"""optimiser steps in an epoch: enough to learn a small increment before the next arrives"""


def compute(inputs: Inputs) -> dict[str, Any]:
    """Train one learner `epochs` epochs on I_1, then `epochs` more on I_1 and I_2, and so on.

    Returns the mean training loss in nats on what has arrived (`curve`: once on arrival and after every epoch), its
    rise at each arrival (`jump`, K - 1 values), accuracy in percent on the real test images at the end of each stage
    (`accuracy`, K), its differences (`gain`, K - 1), and each new image's loss just before the learner first trains on
    it (`difficulty`, one list per increment after the first).
    """
    learner = ContinualLearner(inputs, "incremental")
    stages, accuracies, difficulty = [], [], []
    for k, part in enumerate(inputs.increments):
        union = concatenate(inputs.increments[: k + 1])
        arrival = losses(learner.classifier, union)
        epochs = [losses(learner.classifier, union).mean().item() for _ in learner.learn(union, LEAST_STEPS)]
        stages.append([arrival.mean().item(), *epochs])
        accuracies.append(accuracy(learner.classifier, inputs.real.test))
        difficulty.append(arrival[-len(part) :].tolist())
    return {
        "curve": list(chain.from_iterable(stages)),
        "jump": [after[0] - before[-1] for before, after in pairwise(stages)],
        "accuracy": accuracies,
        "gain": [after - before for before, after in pairwise(accuracies)],
        "difficulty": difficulty[1:],
    }


def losses(classifier: Classifier, images: ImageSet) -> Tensor:
    """Cross-entropy of each image in nats, (N,)."""
    return F.cross_entropy(predict(classifier, images), images.labels, reduction="none")


def aggregate(cells: Cells) -> dict[str, Any]:
    """Average over seeds, entry by entry. The losses of single images stay in the cells."""
    found = cells.values()
    names = ("jump", "accuracy", "gain", "curve")
    means = {name: [fmean(values) for values in zip(*(one[name] for one in found), strict=True)] for name in names}
    return {"mean_jump": summary([fmean(one["jump"]) for one in found]), **means}


def plot(figure: Figure, groups: Groups, styles: Mapping[str, Style]) -> None:
    """Draw the mean loss as increments arrive, above, and the accuracy gained by each increment, below."""
    K = max(len(one["accuracy"]) for sets in groups.values() for one in sets.values())
    found = {g: [one for one in sets.values() if len(one["accuracy"]) == K] for g, sets in groups.items()}
    shown = {group: ones for group, ones in found.items() if ones}
    figure.set_size_inches(6.4, 5.6)
    above, below = figure.subplots(2, 1, height_ratios=(3, 2))
    epochs = len(next(iter(shown.values()))[0]["curve"]) // K - 1
    x = np.concatenate([k * epochs + np.arange(epochs + 1) for k in range(K)])
    width = 0.8 / len(shown)
    for i, (group, ones) in enumerate(shown.items()):
        colour = styles[group].colour
        curve, gain = (np.mean([one[name] for one in ones], axis=0) for name in ("curve", "gain"))
        above.plot(x, np.maximum(curve, 1e-4), color=colour, label=group, lw=1.3, ls=("-", "--", ":", "-.")[i % 4])
        place = np.arange(K - 1) + (i - (len(shown) - 1) / 2) * width
        bars = below.bar(place, gain, width * 0.92, color=colour, hatch=("", "//", "..", "xx")[i % 4])
        below.bar_label(bars, fmt="%+.1f", fontsize=7, padding=1)
    for k in range(1, K):
        above.axvline(k * epochs, color="0.6", lw=0.6, zorder=0)
        above.annotate(f"{k + 1}", (k * epochs, 1), xycoords=("data", "axes fraction"), va="bottom", ha="center")
    above.set_yscale("log")
    above.set_xlabel("epochs (numbers above: this increment arrives)")
    above.set_ylabel("training loss, nats")
    above.legend(loc="upper right", fontsize=8)
    below.axhline(0, color="0.3", lw=0.8)
    below.margins(y=0.2)
    below.set_xticks(range(K - 1), [f"increment {k + 2}" for k in range(K - 1)])
    below.set_ylabel("accuracy gained, %")
    below.grid(axis="y", alpha=0.3)


MEASURE = Measure(
    title="Incremental training",
    how_to_read="The loss jumps where an arriving increment holds images that the learner could not yet classify. The"
    " bars show the accuracy on real test images that each increment added.",
    compute=compute,
    headlines=(
        Headline("loss_jump", "loss jump, nats", 2, ("mean_jump", "mean")),
        Headline("gain", "gain per increment, %", 1, ("gain",)),
    ),
    aggregate=aggregate,
    plot=plot,
    per_seed=True,
    least_increments=2,
)
