"""Matplotlib figures, and functions that write them as SVG and PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from lgd.analysis.measure import COLOURS, MARKERS
from lgd.analysis.redundancy import draw_matrices
from lgd.data.imageset import ImageSet
from lgd.storage.files import write_bytes

LINES = ("-", "--", ":")
"""line styles: the next one each time that the colours repeat"""
IN_THE_AXES = 5
"""number of methods up to which the legend fits inside the axes"""


def save(figure: Figure, path: Path) -> None:
    """Write `path`.svg and `path`.png and close the figure."""
    for kind in ("svg", "png"):
        write_bytes(path.with_name(f"{path.name}.{kind}"), render(figure, kind))


def render(figure: Figure, kind: str) -> bytes:
    """Return the figure as `svg` or `png`, the same bytes every time, and close it."""
    options: dict[str, Any] = {"metadata": {"Date": None}} if kind == "svg" else {"dpi": 150}
    buffer = BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "lgd"}):
        figure.savefig(buffer, format=kind, bbox_inches="tight", **options)
    plt.close(figure)
    return buffer.getvalue()


def image_grid(increments: Sequence[ImageSet], classes: int = 20, per_increment: int = 10) -> Figure:
    """Draw a row of images per class, increments side by side: at most `classes` rows and `per_increment` images."""
    names = increments[0].class_names[:classes]
    cells = [
        [part.images[part.indices_of(label)[:per_increment]] for part in increments] for label in range(len(names))
    ]
    widths = [max(len(row[i]) for row in cells) for i in range(len(increments))]
    _, side, _ = increments[0].shape
    gap = max(1, side // 8)
    columns, starts, x = [], [], 0
    for width in widths:
        starts.append(x)
        columns.append([x + slot * (side + 1) for slot in range(width)])
        x += width * (side + 1) + gap
    canvas = np.ones((len(names) * (side + 1), x - gap, 3), dtype=np.float32)
    for r, row in enumerate(cells):
        for images, xs in zip(row, columns, strict=True):
            for image, left in zip(images, xs, strict=False):
                top = r * (side + 1)
                canvas[top : top + side, left : left + side] = image.permute(1, 2, 0).numpy() / 255
    inches = 0.42 if side < 64 else 0.8
    figure, axis = plt.subplots(figsize=(1 + inches * sum(widths), 0.5 + inches * len(names)))
    axis.imshow(canvas, interpolation="nearest")
    axis.set_xticks([s + w * (side + 1) / 2 for s, w in zip(starts, widths, strict=True)])
    axis.set_xticklabels(column_labels(len(increments), inches * min(widths)), fontsize=9)
    axis.set_yticks([r * (side + 1) + side / 2 for r in range(len(names))], [plain(name) for name in names])
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)
    return figure


def column_labels(count: int, inches: float) -> list[str]:
    """Return the names of the increments, short enough for columns of a width in inches."""
    if inches >= 0.95:
        return [f"increment {i + 1}" for i in range(count)]
    return [f"incr. {i + 1}" if inches >= 0.6 else f"{i + 1}" for i in range(count)]


def redundancy_maps(
    matrices: Mapping[str, Sequence[Sequence[float]]], means: Mapping[str, float | None], chance: float
) -> Figure:
    """Draw redundancy matrices on one scale from 0 to 100 %, side by side in as few rows as there is room for.

    chance: accuracy of guessing in percent, marked on the scale.
    """
    figure = Figure(layout="constrained")
    draw_matrices(figure, {plain(name): matrix for name, matrix in matrices.items()}, list(means.values()), chance)
    return figure


def accuracy_curves(methods: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw accuracy against images per class (IPC) with one standard deviation.

    Colours are safe for colour-blind readers; markers differ, too. A method at a single IPC above all others, such as
    the whole real set, becomes a horizontal line: drawn to scale it would leave the other methods no room.
    """
    figure, axis = plt.subplots(figsize=(5, 3.4))
    ceilings = {name for name in methods if is_ceiling(name, methods)}
    ticks: set[int] = set()
    for i, (name, accuracy) in enumerate(methods.items()):
        ipc = [int(key) for key in accuracy]
        means = [a["mean"] for a in accuracy.values()]
        stds = [a["std"] for a in accuracy.values()]
        turn, place = divmod(i, len(COLOURS))
        colour, line = COLOURS[place], LINES[turn % len(LINES)]
        if name in ceilings:
            axis.axhline(means[0], label=plain(f"{name} ({ipc[0]} IPC)"), color=colour, linestyle=":")
            continue
        ticks |= set(ipc)
        style: dict[str, Any] = {"color": colour, "marker": MARKERS[place], "linestyle": line, "capsize": 2}
        inside = "white" if turn % 2 else colour
        axis.errorbar(ipc, means, yerr=stds, label=plain(name), markersize=5, markerfacecolor=inside, **style)
    axis.set_xticks(sorted(ticks))
    axis.set_xlabel("images per class (IPC)")
    axis.set_ylabel("test accuracy, %")
    axis.grid(alpha=0.3)
    if len(methods) > IN_THE_AXES:
        axis.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=8)
    elif len(methods) > 1:
        axis.legend()
    return figure


def is_ceiling(name: str, methods: Mapping[str, Mapping[str, Any]]) -> bool:
    """Return whether a method was evaluated at a single IPC, which is above those of all others."""
    others = [int(ipc) for other, accuracy in methods.items() if other != name for ipc in accuracy]
    return len(methods[name]) == 1 and bool(others) and int(next(iter(methods[name]))) > max(others)


def loss_curve(steps: Sequence[int], losses: Sequence[float]) -> Figure:
    """Draw the loss of a generator's training on a logarithmic scale."""
    figure, axis = plt.subplots(figsize=(5, 3.4))
    axis.plot(steps, losses, color=COLOURS[0], linewidth=1)
    axis.set_yscale("log")
    axis.set_xlabel("optimiser step")
    axis.set_ylabel("mean squared error")
    axis.grid(alpha=0.3, which="both")
    return figure


def score_histogram(scores: Sequence[Sequence[float]]) -> Figure:
    """Draw histograms of the kept images' scores, a row per increment that has any. scores: per increment."""
    kept = [(k + 1, values) for k, values in enumerate(scores) if values]
    values = [v for _, row in kept for v in row]
    low, high = min(values), max(values)
    edges = np.linspace(low, high if high > low else low + 1, 25)
    figure, axes = plt.subplots(
        len(kept), 1, figsize=(5, 0.8 + 1.1 * len(kept)), sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    for axis, (k, row) in zip(axes[:, 0], kept, strict=True):
        axis.hist(row, edges, color=COLOURS[0])
        mean = float(np.mean(row))
        axis.axvline(mean, color=COLOURS[1], lw=1.5)
        axis.set_title(f"mean {mean:.2f}", loc="right", fontsize=8, pad=2)
        axis.set_ylabel(f"incr. {k}", fontsize=8)
        axis.yaxis.get_major_locator().set_params(integer=True, nbins=3)
    axes[-1, 0].set_xlabel("learnability score when sampled, nats")
    return figure


def plain(name: str) -> str:
    """Escape dollar signs, which matplotlib would read as formulas."""
    return name.replace("$", r"\$")
