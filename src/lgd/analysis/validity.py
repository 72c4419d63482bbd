"""Validity against difficulty: a useful image is hard and still shows what its label says (method.md, section 6.4)."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lgd.classifiers.architectures import Classifier, predict
from lgd.data.imageset import ImageSet

from .context import Inputs
from .measure import COLOURS, MARKERS, Cells, Groups, Headline, Measure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOUBTFUL = 0.5
"""reference probability of the true class below which an image is an outlier"""


def compute(inputs: Inputs) -> list[dict[str, Any]]:
    return [validity(part, inputs.reference) for part in inputs.increments]


def validity(part: ImageSet, reference: Classifier) -> dict[str, Any]:
    """Classify one increment by the reference.

    Returns each image's true-class `probability`, the percent classified as labelled (`valid`), and the percent with a
    probability below `DOUBTFUL` (`outliers`).
    """
    probabilities = predict(reference, part).softmax(1)  # (N, classes)
    p = probabilities.gather(1, part.labels[:, None])[:, 0]
    valid = 100 * (probabilities.argmax(1) == part.labels).double().mean().item()
    return {"probability": p.tolist(), "valid": valid, "outliers": 100 * (p < DOUBTFUL).double().mean().item()}


def aggregate(cells: Cells) -> dict[str, Any]:
    """Average over images; with several increments, relate probability to difficulty, averaged over seeds."""
    parts = cells.values()[0]
    sizes = [len(part["probability"]) for part in parts]
    found: dict[str, Any] = {"valid": [], "outliers": []}
    for name in ("valid", "outliers"):
        found[name] = [part[name] for part in parts]
        found[f"mean_{name}"] = sum(v * n for v, n in zip(found[name], sizes, strict=True)) / sum(sizes)
    of_seeds = [[v for part in difficulty for v in part] for difficulty in _difficulties(cells)]
    flat = [fmean(values) for values in zip(*of_seeds, strict=True)]
    probability = [p for part in parts[1:] for p in part["probability"]]
    return {
        **found,
        "mean_difficulty": fmean(flat) if flat else None,
        "correlation": correlation(probability, flat) if flat else None,
        "doubtful": DOUBTFUL,
    }


def _difficulties(cells: Cells) -> list[list[list[float]]]:
    """Each seed's difficulties by increment from the second on, measured by incremental training."""
    return [one["difficulty"] for one in replace(cells, measure="incremental").values()]


def correlation(x: list[float], y: list[float]) -> float | None:
    """Pearson's correlation; None for fewer than three points or a constant."""
    pairs = torch.tensor([x, y], dtype=torch.double)
    if pairs.shape[1] < 3 or bool((pairs.std(1) == 0).any()):
        return None
    return torch.corrcoef(pairs)[0, 1].item()


def plot(figure: Figure, groups: Groups) -> None:
    """Draw reference probability against the first seed's difficulty of all images after the first increment."""
    points: dict[str, tuple[list[float], list[float]]] = {}
    for group, sets in groups.items():
        for cells in (cells for cells, one in sets.items() if one["mean_difficulty"] is not None):
            x, y = points.setdefault(group, ([], []))
            x += [p for part in cells.values()[0][1:] for p in part["probability"]]
            y += [value for part in _difficulties(cells)[0] for value in part]
    if not points:
        return
    figure.set_size_inches(3.2 * len(points) + 0.4, 3.2)
    axes = figure.subplots(1, len(points), squeeze=False, sharey=True)[0]
    for i, (axis, (group, (x, y))) in enumerate(zip(axes, points.items(), strict=True)):
        axis.axvspan(0, DOUBTFUL, color="0.5", alpha=0.18, lw=0)
        style: dict[str, Any] = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}
        axis.scatter(x, np.maximum(y, 1e-4), s=14, alpha=0.6, lw=0, **style)
        axis.set_yscale("log")
        axis.set_xlim(-0.03, 1.03)
        axis.set_title(group, fontsize=10)
        axis.grid(alpha=0.25)
    figure.supxlabel("reference probability of the true class (grey: doubtful)", fontsize=9)
    axes[0].set_ylabel("difficulty, nats")


MEASURE = Measure(
    title="Validity against difficulty",
    how_to_read="Images further up are harder for a learner that has not seen them; the reference is surer of the label"
    " of images further right. Good images are at the upper right, outliers in the grey band.",
    compute=compute,
    headlines=(
        Headline("difficulty", "difficulty, nats", 2, ("mean_difficulty",)),
        Headline("valid", "valid, %", path=("mean_valid",)),
        Headline("outliers", "outliers, %", path=("mean_outliers",)),
    ),
    aggregate=aggregate,
    plot=plot,
)
