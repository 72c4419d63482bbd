"""Reference against judge: how much more a set convinces the network that guided it than an independent one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lgd.classifiers.architectures import predict

from .context import Inputs
from .measure import Cells, Groups, Headline, Measure, Style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NETWORKS = ("judge", "reference")


def compute(inputs: Inputs) -> dict[str, Any]:
    """Classify all images by both networks.

    Returns for each the true-class `probability` of every image and the percent classified as labelled (`valid`).
    """
    labels, found = inputs.images.labels, {}
    for name in NETWORKS:
        probabilities = predict(getattr(inputs, name), inputs.images).softmax(1)  # (N, classes)
        right = probabilities.argmax(1) == labels
        found[name] = {
            "probability": probabilities.gather(1, labels[:, None])[:, 0].tolist(),
            "valid": 100 * right.double().mean().item(),
        }
    return found


def aggregate(cells: Cells) -> dict[str, Any]:
    """Return both shares, and by how many percentage points the reference's is higher."""
    (found,) = cells.values()
    shares = {name: found[name]["valid"] for name in NETWORKS}
    return {**shares, "gap": shares["reference"] - shares["judge"]}


def plot(figure: Figure, groups: Groups, styles: Mapping[str, Style]) -> None:
    """Draw each image's true-class probability under the judge against that under the reference."""
    figure.set_size_inches(3.2 * len(groups) + 0.4, 3.4)
    axes = figure.subplots(1, len(groups), squeeze=False, sharey=True)[0]
    for axis, (group, sets) in zip(axes, groups.items(), strict=True):
        style: dict[str, Any] = {"color": styles[group].colour, "marker": styles[group].marker}
        for cells in sets:
            (found,) = cells.values()
            judge, reference = (found[name]["probability"] for name in NETWORKS)
            axis.scatter(reference, judge, s=14, alpha=0.5, lw=0, **style)
        gap = sum(one["gap"] for one in sets.values()) / len(sets)
        axis.set_title(f"{group}\n{gap:+.1f} points more valid by the reference", fontsize=10)
        axis.set_xlim(-0.03, 1.03)
        axis.set_ylim(-0.03, 1.03)
        axis.grid(alpha=0.25)
    figure.supxlabel("reference probability of the true class", fontsize=9)
    axes[0].set_ylabel("judge probability of the true class")


MEASURE = Measure(
    title="Reference against judge",
    how_to_read="Images at the upper right convince both networks. Images at the lower right convince only the"
    " reference, which guided them: they are adversarial.",
    compute=compute,
    headlines=(
        Headline("reference_valid", "valid by the reference, %", path=("reference",)),
        Headline("validity_gap", "reference minus judge, points", path=("gap",)),
    ),
    aggregate=aggregate,
    plot=plot,
)
