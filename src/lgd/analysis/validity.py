"""Validity: a useful image is hard and still shows what its label says (method.md, section 6.4).

An independent network, the judge, says whether it does; the reference, which guided the images, is easier to convince.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lgd.classifiers.architectures import Classifier, predict
from lgd.data.imageset import ImageSet

from .context import Inputs
from .measure import Cells, Groups, Headline, Measure, Style, panels

NETWORKS = ("judge", "reference")
DOUBTFUL = 0.5
"""judge's probability of the true class below which an image is an outlier"""


def classified(network: Classifier, images: ImageSet) -> dict[str, Any]:
    """Return each image's true-class `probability`, and the percent classified as labelled (`valid`)."""
    probabilities = predict(network, images).softmax(1)  # (N, classes)
    right = probabilities.argmax(1) == images.labels
    p = probabilities.gather(1, images.labels[:, None])[:, 0]
    return {"probability": p.tolist(), "valid": 100 * right.double().mean().item()}


def compute(inputs: Inputs) -> list[dict[str, Any]]:
    """Classify every increment by the judge; `outliers` is the percent with a probability below `DOUBTFUL`."""
    found = [classified(inputs.judge, part) for part in inputs.increments]
    return [{**one, "outliers": 100 * fmean(p < DOUBTFUL for p in one["probability"])} for one in found]


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
    axes = panels(figure, list(points), 3.2)
    for axis, (group, (x, y)) in zip(axes, points.items(), strict=True):
        axis.axvspan(0, DOUBTFUL, color="0.5", alpha=0.18, lw=0)
        axis.scatter(x, np.maximum(y, 1e-4), c=styles[group].colour, marker=styles[group].marker, s=14, alpha=0.6, lw=0)
        axis.set_yscale("log")
    figure.supxlabel("judge probability of the true class (grey: doubtful)", fontsize=9)
    axes[0].set_ylabel("difficulty, nats")


def compute_both(inputs: Inputs) -> dict[str, Any]:
    return {name: classified(getattr(inputs, name), inputs.images) for name in NETWORKS}


def gap(cells: Cells) -> dict[str, Any]:
    """Return both shares, and by how many percentage points the reference's is higher."""
    (found,) = cells.values()
    shares = {name: found[name]["valid"] for name in NETWORKS}
    return {**shares, "gap": shares["reference"] - shares["judge"]}


def plot_both(figure: Figure, groups: Groups, styles: Mapping[str, Style]) -> None:
    """Draw each image's true-class probability under the judge against that under the reference."""
    gaps = {group: fmean(one["gap"] for one in sets.values()) for group, sets in groups.items()}
    axes = panels(
        figure, [f"{group}\n{gap:+.1f} points more valid by the reference" for group, gap in gaps.items()], 3.4
    )
    for axis, (group, sets) in zip(axes, groups.items(), strict=True):
        for cells in sets:
            (found,) = cells.values()
            judge, reference = (found[name]["probability"] for name in NETWORKS)
            axis.scatter(reference, judge, c=styles[group].colour, marker=styles[group].marker, s=14, alpha=0.5, lw=0)
        axis.set_ylim(-0.03, 1.03)
    figure.supxlabel("reference probability of the true class", fontsize=9)
    axes[0].set_ylabel("judge probability of the true class")


VALIDITY = Measure(
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
ADVERSARIAL = Measure(
    title="Reference against judge",
    how_to_read="Images at the upper right convince both networks. Images at the lower right convince only the"
    " reference, which guided them: they are adversarial.",
    compute=compute_both,
    headlines=(
        Headline("reference_valid", "valid by the reference, %", path=("reference",)),
        Headline("validity_gap", "reference minus judge, points", path=("gap",)),
    ),
    aggregate=gap,
    plot=plot_both,
)
