"""Figures of an analysis: spikes and gains, learning dynamics, validity, scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from .plots import COLOURS, MARKERS, plain


def spikes_and_gains(
    curves: Mapping[str, Sequence[float]], stages: int, gains: Mapping[str, Sequence[float]]
) -> Figure:
    """Training loss of one learner as increments arrive, above; accuracy gained by each increment, below.

    curves: per set the loss in nats on arrival and after every epoch, stage after stage. gains: per set K - 1 values in
    percent.
    """
    figure, (above, below) = plt.subplots(2, 1, figsize=(6.4, 5.6), height_ratios=(3, 2), layout="constrained")
    for i, (name, curve) in enumerate(curves.items()):
        per_stage = len(curve) // stages
        x = np.concatenate([k * (per_stage - 1) + np.arange(per_stage) for k in range(stages)])
        above.plot(
            x,
            np.maximum(curve, 1e-4),
            color=COLOURS[i % len(COLOURS)],
            label=plain(name),
            lw=1.3,
            ls=("-", "--", ":", "-.")[i % 4],
        )
    for k in range(1, stages):
        above.axvline(k * (per_stage - 1), color="0.6", lw=0.6, zorder=0)
        above.annotate(
            f"{k + 1}", (k * (per_stage - 1), 1), xycoords=("data", "axes fraction"), va="bottom", ha="center"
        )
    above.set_yscale("log")
    above.set_xlabel("epochs (numbers above: this increment arrives)")
    above.set_ylabel("training loss, nats")
    above.legend(loc="upper right", fontsize=8)
    width = 0.8 / max(1, len(gains))
    for i, (name, values) in enumerate(gains.items()):
        x = np.arange(len(values)) + (i - (len(gains) - 1) / 2) * width
        bars = below.bar(
            x,
            values,
            width * 0.92,
            color=COLOURS[i % len(COLOURS)],
            label=plain(name),
            hatch=("", "//", "..", "xx")[i % 4],
        )
        below.bar_label(bars, fmt="%+.1f", fontsize=7, padding=1)
    below.axhline(0, color="0.3", lw=0.8)
    below.margins(y=0.2)
    below.set_xticks(range(stages - 1), [f"increment {k + 2}" for k in range(stages - 1)])
    below.set_ylabel("accuracy gained, %")
    below.grid(axis="y", alpha=0.3)
    return figure


def dynamics_scatter(
    points: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    shares: Mapping[str, Mapping[str, float]],
    borders: Mapping[str, float],
    most: int = 2000,
) -> Figure:
    """Mean against deviation of the true-class probability, one panel a set, with the three regions and their shares.

    points: (means, deviations) of the real set first, then of each set; `most` of them are drawn, evenly spaced.
    """
    columns = min(4, len(points))
    rows = -(-len(points) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(3.1 * columns, 3 * rows), squeeze=False, sharex=True, sharey=True, layout="constrained"
    )
    for axis in axes.flat[len(points) :]:
        axis.remove()
    for i, (axis, (name, (means, deviations))) in enumerate(zip(axes.flat, points.items(), strict=False)):
        step = max(1, len(means) // most)
        colour = COLOURS[(i - 1) % len(COLOURS)] if i else "0.45"
        axis.scatter(deviations[::step], means[::step], s=9, alpha=0.55, lw=0, color=colour)
        axis.axvline(borders["deviation"], color="0.5", lw=0.9, ls="--")
        axis.plot([0, borders["deviation"]], [borders["mean"]] * 2, color="0.5", lw=0.9, ls="--")
        s = shares[name]
        axis.set_title(plain(name), fontsize=10)
        for x, y, va, text in (
            (0.01, 0.98, "top", f"easy\n{s['easy']:.0f} %"),
            (0.01, 0.02, "bottom", f"hard\n{s['hard']:.0f} %"),
            (0.49, 0.02, "bottom", f"informative\n{s['informative']:.0f} %"),
        ):
            box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1}
            ha = "right" if x > 0.3 else "left"
            axis.text(x, y, text, va=va, ha=ha, fontsize=8, bbox=box)
        axis.set_xlim(0, 0.5)
        axis.set_ylim(-0.02, 1.02)
    figure.supxlabel("deviation of the true-class probability over epochs", fontsize=9)
    figure.supylabel("its mean", fontsize=9)
    return figure


def validity_scatter(points: Mapping[str, tuple[Sequence[float], Sequence[float]]], doubtful: float) -> Figure:
    """Reference probability of the true class against difficulty in nats; the doubtful side is shaded."""
    figure, axes = plt.subplots(
        1, len(points), figsize=(3.2 * len(points) + 0.4, 3.2), squeeze=False, sharey=True, layout="constrained"
    )
    for i, (axis, (name, (x, y))) in enumerate(zip(axes[0], points.items(), strict=True)):
        axis.axvspan(0, doubtful, color="0.5", alpha=0.18, lw=0)
        style: dict[str, Any] = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}
        axis.scatter(x, np.maximum(y, 1e-4), s=14, alpha=0.6, lw=0, **style)
        axis.set_yscale("log")
        axis.set_xlim(-0.03, 1.03)
        axis.set_title(plain(name), fontsize=10)
        axis.grid(alpha=0.25)
    figure.supxlabel("reference probability of the true class (grey: doubtful)", fontsize=9)
    axes[0][0].set_ylabel("difficulty, nats")
    return figure


def score_histogram(scores: Sequence[Sequence[float]]) -> Figure:
    """Learnability of the kept images, one row an increment. scores: per increment, empty where none was computed."""
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
    axes[-1, 0].set_xlabel("learnability score when drawn, nats")
    return figure
