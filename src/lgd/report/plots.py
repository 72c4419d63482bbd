"""Matplotlib figures, and functions that write them as SVG and PNG. They leave the caller's pyplot alone."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from lgd.analysis.measure import COLOURS, Cells, styles_of
from lgd.analysis.redundancy import draw_matrices
from lgd.analysis.registry import MEASURES
from lgd.data.imageset import ImageSet
from lgd.errors import UserError
from lgd.storage.files import read_json, write_bytes

KINDS = ("svg", "png")
"""files of a figure"""
IN_THE_AXES = 5
"""number of methods up to which the legend fits inside the axes"""


def save(figure: Figure, path: Path) -> None:
    """Write `path`.svg and `path`.png, laid out once: that takes longer than to draw."""
    figure.draw_without_rendering()
    figure.set_layout_engine(None)
    box = figure.get_tightbbox().padded(matplotlib.rcParams["savefig.pad_inches"])
    for kind in KINDS:
        write_bytes(path.with_name(f"{path.name}.{kind}"), render(figure, kind, box))


def render(figure: Figure, kind: str, box: Bbox | str = "tight") -> bytes:
    """Return the part of the figure within `box`, in inches, as `svg` or `png`, the same bytes every time."""
    options: dict[str, Any] = {"metadata": {"Date": None}} if kind == "svg" else {"dpi": 150}
    buffer = BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "lgd"}):
        figure.savefig(buffer, format=kind, bbox_inches=box, **options)
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
    figure = Figure(figsize=(1 + inches * sum(widths), 0.5 + inches * len(names)))
    axis = figure.subplots()
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

    Colours are safe for colour-blind readers; markers and lines differ, too. With many methods the legend stands
    outside, the most accurate first. A method at a single IPC above all others, such as the whole real set, becomes a
    horizontal line: drawn to scale it would leave the other methods no room.
    """
    many = len(methods) > IN_THE_AXES
    figure = Figure(figsize=(7, 4.6) if many else (5, 3.4))
    axis = figure.subplots()
    ceilings = {name for name in methods if is_ceiling(name, methods)}
    handles, ticks, styles = dict[str, Any](), set[int](), styles_of(methods)
    for name, accuracy in methods.items():
        ipc = [int(key) for key in accuracy]
        means, stds = ([one[name] for one in accuracy.values()] for name in ("mean", "std"))
        style = styles[name]
        if name in ceilings:
            label = plain(f"{name} ({ipc[0]} IPC)")
            handles[name] = axis.axhline(means[0], label=label, color=style.colour, linestyle=":")
            continue
        ticks |= set(ipc)
        drawn = axis.errorbar(
            ipc,
            means,
            yerr=stds,
            label=plain(name),
            color=style.colour,
            marker=style.marker,
            markersize=5,
            markerfacecolor=style.colour if style.filled else "white",
            linestyle=style.line,
            linewidth=1.2 if many else 1.6,
            elinewidth=0.6 if many else 1.2,
            capsize=2,
        )
        handles[name] = drawn
    axis.set_xticks(sorted(ticks))
    axis.set_xlabel("images per class (IPC)")
    axis.set_ylabel("accuracy on real test images, %")
    axis.grid(alpha=0.3)
    if many:
        best = sorted(handles, key=lambda name: -list(methods[name].values())[-1]["mean"])
        axis.legend([handles[name] for name in best], best, loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=8)
    elif len(methods) > 1:
        axis.legend()
    return figure


def confusion_maps(confusions: Mapping[str, Sequence[Sequence[int]]], class_names: Sequence[str]) -> Figure:
    """Draw how often real test images of each class (rows) are taken for each class (columns), a panel per method.

    confusions: of each method, counts; a row's shares sum to 100 %.
    """
    per_row = min(3, len(confusions))
    rows = -(-len(confusions) // per_row)
    side = 2.2 + 0.12 * min(len(class_names), 20)
    figure = Figure(figsize=(side * per_row + 1, side * rows), layout="constrained")
    axes = figure.subplots(rows, per_row, squeeze=False)
    for axis in axes.flat[len(confusions) :]:
        axis.remove()
    for axis, (name, counts) in zip(axes.flat, confusions.items(), strict=False):
        table = np.asarray(counts, dtype=float)
        shares = 100 * table / np.maximum(table.sum(axis=1, keepdims=True), 1)
        image = axis.imshow(shares, vmin=0, vmax=100, cmap="Blues")
        axis.set_title(plain(name), fontsize=10)
        labels = [plain(label if len(label) <= 14 else f"{label[:13]}…") for label in class_names]
        if len(labels) <= 20:
            axis.set_xticks(range(len(labels)), labels, rotation=90, fontsize=7)
            axis.set_yticks(range(len(labels)), labels, fontsize=7)
    figure.colorbar(image, ax=list(axes.flat[: len(confusions)]), label="share of the class's test images, %")
    figure.supxlabel("class that the classifier names", fontsize=9)
    figure.supylabel("true class", fontsize=9)
    return figure


def is_ceiling(name: str, methods: Mapping[str, Mapping[str, Any]]) -> bool:
    """Return whether a method was evaluated at a single IPC, which is above those of all others."""
    others = [int(ipc) for other, accuracy in methods.items() if other != name for ipc in accuracy]
    return len(methods[name]) == 1 and bool(others) and int(next(iter(methods[name]))) > max(others)


def loss_curve(steps: Sequence[int], losses: Sequence[float]) -> Figure:
    """Draw the loss of a generator's training on a logarithmic scale."""
    figure = Figure(figsize=(5, 3.4))
    axis = figure.subplots()
    axis.plot(steps, losses, color=COLOURS[0], linewidth=1)
    axis.set_yscale("log")
    axis.set_xlabel("optimiser step")
    axis.set_ylabel("training loss (mean squared error)")
    axis.grid(alpha=0.3, which="both")
    return figure


def score_histogram(scores: Sequence[Sequence[float]]) -> Figure:
    """Draw histograms of the kept images' scores, a row per increment that has any. scores: per increment."""
    kept = [(k + 1, values) for k, values in enumerate(scores) if values]
    values = [v for _, row in kept for v in row]
    low, high = min(values), max(values)
    edges = np.linspace(low, high if high > low else low + 1, 25)
    figure = Figure(figsize=(5, 0.8 + 1.1 * len(kept)), layout="constrained")
    axes = figure.subplots(len(kept), 1, sharex=True, sharey=True, squeeze=False)
    for axis, (k, row) in zip(axes[:, 0], kept, strict=True):
        axis.hist(row, edges, color=COLOURS[0])
        mean = float(np.mean(row))
        axis.axvline(mean, color=COLOURS[1], lw=1.5)
        axis.set_title(f"mean {mean:.2f}", loc="right", fontsize=8, pad=2)
        axis.set_ylabel(f"incr. {k}", fontsize=8)
        axis.yaxis.get_major_locator().set_params(integer=True, nbins=3)
    axes[-1, 0].set_xlabel("learnability score when sampled, nats")
    figure.supylabel("number of images", fontsize=9)
    return figure


def plot_analysis(root: Path, order: Sequence[str] = ()) -> dict[str, Figure]:
    """Draw the figures of all measures that have results, by name; groups look as `styles_of` says.

    order: names of groups that come first, as elsewhere on the page. Errors: UserError for what is no analysis.
    """
    analysis = read_json(root / "analysis.json")
    if not isinstance(analysis, dict) or "groups" not in analysis:
        raise UserError(f"{root / 'analysis.json'}: not an analysis of this version; run lgd analyze again")
    styles = styles_of(map(plain, dict.fromkeys([*order, *(one["group"] for one in analysis["sets"].values())])))
    found: dict[str, Figure] = {}
    for name, measure in MEASURES.items():
        groups: dict[str, dict[Cells, Any]] = {}
        for owner, entry in analysis["sets"].items():
            if entry.get(name) is not None:
                groups.setdefault(plain(entry["group"]), {})[Cells(root, owner, name)] = entry[name]
        if measure.plot and groups:
            figure = Figure(layout="constrained")
            measure.plot(figure, {name: groups[name] for name in styles if name in groups}, styles)
            if figure.axes:
                found[name] = figure
    return found


def write_figures(root: Path) -> None:
    """Draw and save the figures under `root`/figures as SVG and PNG."""
    for name, figure in plot_analysis(root).items():
        save(figure, root / "figures" / name)


def plain(name: str) -> str:
    """Escape dollar signs, which matplotlib would read as formulas."""
    return name.replace("$", r"\$")
