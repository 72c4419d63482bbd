"""Redundancy: how much a classifier knows of one increment after training on another (method.md, section 6.1)."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from lgd.classifiers.train import accuracy, train_classifier
from lgd.errors import naming
from lgd.evaluation.aggregate import mean_matrix, redundancy
from lgd.rng import derive_seed

from .context import Inputs
from .measure import Cells, Groups, Headline, Measure, Style

MAPS_PER_ROW = 4


def compute(inputs: Inputs) -> dict[str, Any]:
    """Train a fresh classifier on `inputs.increment` alone; return its accuracy in percent on every increment.

    The seed gives the same weights and order for every increment and set, so that only the images differ. `classes`
    is the number of classes, which guessing depends on.
    """
    part, context = inputs.increments[inputs.increment], inputs.context
    seed = derive_seed("analysis", "redundancy", inputs.seed)
    with naming(f"redundancy, increment {inputs.increment + 1}"):
        classifier = train_classifier(part, context.classifier, seed, context.assets.device)
    found = [accuracy(classifier, other) for other in inputs.increments]
    return {"accuracy": found, "classes": len(part.class_names)}


def aggregate(cells: Cells) -> dict[str, object]:
    """Average the K x K matrices of all seeds."""
    found = cells.values()
    rows, K = [cell["accuracy"] for cell in found], len(found[0]["accuracy"])
    return redundancy([rows[start : start + K] for start in range(0, len(rows), K)], found[0]["classes"])


def plot(figure: Figure, groups: Groups, styles: Mapping[str, Style]) -> None:
    """Draw each group's mean matrix, over the sets with as many increments as its first."""
    matrices, chance = {}, 0.0
    for group, sets in groups.items():
        first = next(iter(sets.values()))
        K, chance = len(first["matrix"]), first["chance"]
        matrices[group] = mean_matrix([one["matrix"] for one in sets.values() if len(one["matrix"]) == K])
    means = [fmean(one["mean_off_diagonal"] for one in sets.values()) for sets in groups.values()]
    draw_matrices(figure, matrices, means, chance)


def draw_matrices(
    figure: Figure, matrices: Mapping[str, Sequence[Sequence[float]]], means: Sequence[float | None], chance: float
) -> None:
    """Draw redundancy matrices on one scale from 0 to 100 %, which marks `chance` in percent."""
    rows, columns = -(-len(matrices) // MAPS_PER_ROW), min(len(matrices), MAPS_PER_ROW)
    figure.set_size_inches(3.4 * columns + 0.8, 4.2 * rows - 0.8)  # below a row is room for the next one's titles
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis, (title, matrix), mean in zip(axes.flat, matrices.items(), means, strict=False):
        image = axis.imshow(matrix, vmin=0, vmax=100, cmap="cividis")
        K = len(matrix)
        for i in range(K):
            for j in range(K):
                colour = "black" if matrix[i][j] > 55 else "white"
                axis.text(j, i, f"{matrix[i][j]:.0f}", ha="center", va="center", color=colour, fontsize=9)
        axis.set_xticks(range(K), [str(i + 1) for i in range(K)])
        axis.set_yticks(range(K), [str(i + 1) for i in range(K)])
        axis.set_xlabel("tested on increment")
        axis.set_title(title + ("" if mean is None else f"\n{mean:.1f} % off the diagonal"), fontsize=10)
    for axis in axes[:, 0]:
        axis.set_ylabel("trained on increment")
    for axis in axes.flat[len(matrices) :]:
        axis.set_axis_off()
    scale = figure.colorbar(image, ax=axes.ravel().tolist(), label="accuracy, %", shrink=0.8 / rows)
    scale.ax.axhline(chance, color="white")
    scale.ax.set_title(f"line: chance,\n{chance:.1f} %", fontsize=8)


MEASURE = Measure(
    title="Redundancy between increments",
    how_to_read="Row i, column j: accuracy on increment j after training on increment i alone. Bright cells off the"
    " diagonal mean that the increments repeat each other; cells below chance mean that they contradict each other.",
    compute=compute,
    headlines=(
        Headline("redundancy", "redundancy, %", path=("mean_off_diagonal",), baseline="dit"),
        Headline("redundancy_above_chance", "redundancy above chance, %", path=("above_chance",), baseline="dit"),
    ),
    aggregate=aggregate,
    plot=plot,
    per_seed=True,
    per_increment=True,
    least_increments=2,
)
