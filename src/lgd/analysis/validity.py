"""Validity against difficulty: a useful image is hard and still shows what its label says (method.md, section 6.4)."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from lgd.classifiers.architectures import predict

from .context import Inputs
from .measure import Cells, Groups, Headline, Measure, Style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOUBTFUL = 0.5
"""judge's probability of the true class below which an image is an outlier"""


def compute(inputs: Inputs) -> list[dict[str, Any]]:
    """Classify every increment by the judge.

    Returns each image's true-class `probability`, the percent classified as labelled (`valid`), and the percent with a
    probability below `DOUBTFUL` (`outliers`).
    """
    found = []
    for part in inputs.increments:
        probabilities = predict(inputs.judge, part).softmax(1)  # (N, classes)
        p = probabilities.gather(1, part.labels[:, None])[:, 0]
        flags = {"valid": probabilities.argmax(1) == part.labels, "outliers": p < DOUBTFUL}
        shares = {name: 100 * flag.double().mean().item() for name, flag in flags.items()}
        found.append({"probability": p.tolist(), **shares})
    return found


def aggregate(cells: Cells) -> dict[str, Any]:
    """Average over images; relate each image's probability to its difficulty, averaged over seeds, if there is one."""
    (parts,) = cells.values()
    sizes = [len(part["probability"]) for part in parts]
    found: dict[str, Any] = {name: [part[name] for part in parts] for name in ("valid", "outliers")}
    means = {f"mean_{name}": fmean(values, sizes) for name, values in found.items()}
    difficulty = [fmean(values) for values in zip(*difficulties(cells), strict=True)]
    return {
        **found,
        **means,
        "mean_difficulty": fmean(difficulty) if difficulty else None,
        "correlation": correlation(probabilities_of(parts[1:]), difficulty),
        "doubtful": DOUBTFUL,
    }


def probabilities_of(parts: Sequence[dict[str, Any]]) -> list[float]:
    return [p for part in parts for p in part["probability"]]


def difficulties(cells: Cells) -> list[list[float]]:
    """Each seed's difficulty of all images after the first increment, measured by incremental training."""
    found = replace(cells, measure="incremental").values()
    return [[value for part in one["difficulty"] for value in part] for one in found]


def correlation(x: list[float], y: list[float]) -> float | None:
    """Pearson's correlation; None for fewer than three points or a constant."""
    try:
        return statistics.correlation(x, y) if len(x) > 2 else None
    except statistics.StatisticsError:
        return None


def plot(figure: Figure, groups: Groups, styles: Mapping[str, Style]) -> None:
    """Draw the judge's probability against the first seed's difficulty of all images after the first increment."""
    points: dict[str, tuple[list[float], list[float]]] = {}
    for group, sets in groups.items():
        for cells in (cells for cells, one in sets.items() if one["mean_difficulty"] is not None):
            x, y = points.setdefault(group, ([], []))
            x += probabilities_of(cells.values()[0][1:])
            y += difficulties(cells)[0]
    if not points:
        return
    figure.set_size_inches(3.2 * len(points) + 0.4, 3.2)
    axes = figure.subplots(1, len(points), squeeze=False, sharey=True)[0]
    for axis, (group, (x, y)) in zip(axes, points.items(), strict=True):
        axis.axvspan(0, DOUBTFUL, color="0.5", alpha=0.18, lw=0)
        style: dict[str, Any] = {"color": styles[group].colour, "marker": styles[group].marker}
        axis.scatter(x, np.maximum(y, 1e-4), s=14, alpha=0.6, lw=0, **style)
        axis.set_yscale("log")
        axis.set_xlim(-0.03, 1.03)
        axis.set_title(group, fontsize=10)
        axis.grid(alpha=0.25)
    figure.supxlabel("judge probability of the true class (grey: doubtful)", fontsize=9)
    axes[0].set_ylabel("difficulty, nats")


MEASURE = Measure(
    title="Validity against difficulty",
    how_to_read="Images further up are harder for a learner that has not seen them; the judge is surer of the label of"
    " images further right. Good images are at the upper right, outliers in the grey band.",
    compute=compute,
    headlines=(
        Headline("difficulty", "difficulty, nats", 2, ("mean_difficulty",)),
        Headline("valid", "valid, %", path=("mean_valid",)),
        Headline("outliers", "outliers, %", path=("mean_outliers",)),
    ),
    aggregate=aggregate,
    plot=plot,
)
