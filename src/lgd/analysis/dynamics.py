"""Learning dynamics: the true-class probability of each image while a classifier trains (method.md, section 6.3).

Mean and deviation over epochs are the confidence and variability of Dataset Cartography (Swayamdipta et al., EMNLP
2020). The paper does not state the borders between the three regions; `BORDERS` holds ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon

from lgd.classifiers.architectures import predict
from lgd.evaluation.aggregate import summary

from .context import Inputs
from .continual import ContinualLearner
from .measure import REAL, Cells, Groups, Headline, Measure, Style

LEAST_STEPS = 20
"""optimiser steps in an epoch, so that small sets are learned for as long as large ones"""
MOST_POINTS = 2000
"""in a panel of the figure, evenly spaced"""
BORDERS = {"deviation": 0.25, "mean": 0.5}
"""informative from this deviation on, half of the largest possible; below it, easy from this mean on, else hard"""


def compute(inputs: Inputs) -> dict[str, list[float]]:
    """Mean and population deviation over epochs of each image's true-class probability, N values each.

    The probability is taken after every epoch on the stored image, without augmentation.
    """
    learner, train = ContinualLearner(inputs, "dynamics"), inputs.images
    rows = [
        predict(learner.classifier, train).softmax(1).gather(1, train.labels[:, None])[:, 0]  # (N,)
        for _ in learner.learn(train, LEAST_STEPS)
    ]
    p = torch.stack(rows)  # (epochs, N)
    return {"mean": p.mean(0).tolist(), "deviation": p.std(0, correction=0).tolist()}


def aggregate(cells: Cells) -> dict[str, Any]:
    """Average the three shares over seeds, and compare each seed's histogram with the real images'."""
    found = [shares(**cell) for cell in cells.values()]
    own, real = ([histogram(**cell) for cell in each.values()] for each in (cells, replace(cells, owner=REAL)))
    return {
        **{name: fmean(one[name] for one in found) for name in found[0]},
        "divergence_from_real": summary([jensen_shannon(p, q) for p, q in zip(own, real, strict=True)]),
        "borders": BORDERS,
    }


def shares(mean: Sequence[float], deviation: Sequence[float]) -> dict[str, float]:
    """Percent of easy, informative and hard images; they add up to 100."""
    informative = np.asarray(deviation) >= BORDERS["deviation"]
    easy = ~informative & (np.asarray(mean) >= BORDERS["mean"])
    parts = {"easy": easy, "informative": informative, "hard": ~informative & ~easy}
    return {name: 100 * part.mean().item() for name, part in parts.items()}


def histogram(mean: Sequence[float], deviation: Sequence[float]) -> NDArray[np.float64]:
    """Share of images in each of 10 x 10 bins, (mean over [0, 1], deviation over [0, 0.5]); adds up to 1."""
    bounded = np.minimum(deviation, 0.5)  # float32 may exceed the largest that is possible
    return np.histogram2d(mean, bounded, 10, ((0, 1), (0, 0.5)))[0] / len(mean)


def jensen_shannon(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """Jensen-Shannon divergence of two distributions of one shape, in bits: 0 for equal, 1 for disjoint ones.

    SciPy returns its square root, and NaN where rounding makes the divergence of almost equal ones negative.
    """
    with np.errstate(invalid="ignore"):
        return min(1.0, float(np.nan_to_num(jensenshannon(p.ravel(), q.ravel(), base=2))) ** 2)


def plot(figure: Figure, groups: Groups, styles: Mapping[str, Style]) -> None:
    """Draw mean against deviation of the real images and each group's first set, with the regions' shares."""
    panels = {group: next(iter(sets.items())) for group, sets in groups.items()}
    real = replace(next(iter(panels.values()))[0], owner=REAL)
    panels = {REAL: (real, aggregate(real)), **panels}
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    figure.set_size_inches(3.1 * columns, 3 * rows)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    for axis, (title, (cells, share)) in zip(axes.flat, panels.items(), strict=False):
        cell = cells.values()[0]
        step = max(1, len(cell["mean"]) // MOST_POINTS)
        colour = styles[title].colour if title in styles else "0.45"
        axis.scatter(cell["deviation"][::step], cell["mean"][::step], s=9, alpha=0.55, lw=0, color=colour)
        axis.axvline(BORDERS["deviation"], color="0.5", lw=0.9, ls="--")
        axis.plot([0, BORDERS["deviation"]], [BORDERS["mean"]] * 2, color="0.5", lw=0.9, ls="--")
        axis.set_title(title, fontsize=10)
        for x, y, ha, va, name in (
            (0.01, 0.98, "left", "top", "easy"),
            (0.01, 0.02, "left", "bottom", "hard"),
            (0.49, 0.02, "right", "bottom", "informative"),
        ):
            box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1}
            axis.text(x, y, f"{name}\n{share[name]:.0f} %", ha=ha, va=va, fontsize=8, bbox=box)
        axis.set_xlim(0, 0.5)
        axis.set_ylim(-0.02, 1.02)
    figure.supxlabel("deviation of the true-class probability over epochs", fontsize=9)
    figure.supylabel("its mean", fontsize=9)


MEASURE = Measure(
    title="Learning dynamics",
    how_to_read="Each point is an image. The classifier learns those at the upper left at once and those at the lower"
    " left never; at the right, the informative ones, the probability changed most.",
    compute=compute,
    headlines=(
        Headline("easy", "easy, %", path=("easy",)),
        Headline("informative", "informative, %", path=("informative",)),
        Headline("hard", "hard, %", path=("hard",)),
        Headline("divergence", "JS from real, bits", 3, ("divergence_from_real", "mean")),
    ),
    aggregate=aggregate,
    plot=plot,
    per_seed=True,
    on_real=True,
)
