"""The figures of a finished analysis, drawn from its directory alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from lgd.analysis.study import REAL
from lgd.errors import UserError
from lgd.evaluation.comparison_tables import mean_matrix
from lgd.storage.files import read_json, safe_name

from . import figures, plots

HOW_TO_READ = {
    "redundancy": "Row i, column j: accuracy on increment j after training on increment i alone; the brighter the cells"
    " off the diagonal, the more the increments repeat each other.",
    "spikes": "A jump of the loss means that the arriving increment was news to the learner; the bars show what it"
    " bought on real test images.",
    "dynamics": "Each point is one image while it is learned: upper left is learned at once, lower left never, and the"
    " right side is where probability moved most, the informative ones.",
    "validity": "Up is harder for a learner that has not seen the image, right is more certainly what its label says;"
    " good images sit at the upper right, outliers in the grey band.",
    "scores": "How much each kept image had to teach when it was drawn; lower rows shrinking to the left mean that"
    " later increments found less that is new.",
}
"""one sentence per figure"""


def draw_analysis(root: Path) -> dict[str, Figure]:
    """Every figure that the analysis has numbers for, by name. Errors: UserError when it is none."""
    analysis = read_json(root / "analysis.json")
    if not isinstance(analysis, dict) or "groups" not in analysis:
        raise UserError(f"{root / 'analysis.json'}: not an analysis of this version; run lgd analyze again")
    found: dict[str, Figure] = {}
    sets = analysis["sets"]
    members = {group: [s for s in sets.values() if s["group"] == group] for group in analysis["groups"]}
    several = {group: ones for group, ones in members.items() if len(ones[0]["increments"]) > 1}
    matrices = {group: matrix for group, ones in several.items() if (matrix := _matrix(ones)) is not None}
    if matrices:
        means = {group: analysis["groups"][group]["redundancy"]["mean"] for group in matrices}
        found["redundancy"] = plots.redundancy_maps(matrices, means)
    stages = [len(ones[0]["increments"]) for ones in several.values()]
    alike = {g: ones for g, ones in several.items() if len(ones[0]["increments"]) == max(stages)}
    if alike:
        curves = {group: _mean_of(ones, "curve") for group, ones in alike.items()}
        gains = {group: _mean_of(ones, "gain") for group, ones in alike.items()}
        found["spikes"] = figures.spikes_and_gains(curves, max(stages), gains)
    found["dynamics"] = _dynamics(root, analysis)
    validity = _validity(root, analysis)
    if validity:
        found["validity"] = figures.validity_scatter(validity, analysis["settings"]["doubtful"])
    return found


def write_figures(root: Path) -> None:
    """Draw and save them under `root`/figures as SVG and PNG."""
    for name, figure in draw_analysis(root).items():
        plots.save(figure, root / "figures" / name)


def _matrix(ones: Sequence[dict[str, Any]]) -> list[list[float]] | None:
    K = len(ones[0]["increments"])
    return mean_matrix([one["redundancy"]["matrix"] for one in ones if len(one["increments"]) == K])


def _mean_of(ones: Sequence[dict[str, Any]], name: str) -> list[float]:
    """Over the sets with as many increments as the first."""
    rows = [one["incremental"][name] for one in ones if one["incremental"]]
    return [sum(v) / len(v) for v in zip(*(row for row in rows if len(row) == len(rows[0])), strict=True)]


def _dynamics(root: Path, analysis: dict[str, Any]) -> Figure:
    """The first set of each group, with the first seed's points, and the real set."""
    firsts = {entry["group"]: name for name, entry in reversed(analysis["sets"].items())}
    owners = {REAL: REAL, **{group: firsts[group] for group in analysis["groups"]}}
    points, shares = {}, {}
    for title, owner in owners.items():
        cell = read_json(_cell(root, owner, "dynamics-0"))
        points[title] = (cell["mean"], cell["deviation"])
        entry = analysis["real"] if owner == REAL else analysis["sets"][owner]
        shares[title] = entry["dynamics"]
    return figures.dynamics_scatter(points, shares, analysis["settings"]["borders"])


def _validity(root: Path, analysis: dict[str, Any]) -> dict[str, tuple[list[float], list[float]]]:
    """Per group, its sets' images from the second increment on, with the first seed's difficulty."""
    points: dict[str, tuple[list[float], list[float]]] = {}
    for name, entry in analysis["sets"].items():
        if entry["incremental"]:
            judged = read_json(_cell(root, name, "judged"))["validity"][1:]
            difficulty = read_json(_cell(root, name, "incremental-0"))["difficulty"]
            x, y = points.setdefault(entry["group"], ([], []))
            x += [p for part in judged for p in part["probability"]]
            y += [value for part in difficulty for value in part]
    return points


def _cell(root: Path, owner: str, name: str) -> Path:
    return root / "cells" / safe_name(owner) / f"{name}.json"
