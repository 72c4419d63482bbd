"""The figures of a finished analysis, from its directory alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from lgd.analysis.measure import Cells, styles_of
from lgd.analysis.registry import MEASURES
from lgd.errors import UserError
from lgd.storage.files import read_json

from . import plots


def plot_analysis(root: Path, order: Sequence[str] = ()) -> dict[str, Figure]:
    """Draw the figures of all measures that have results, by name; groups look as `styles_of` says.

    order: names of groups that come first, as elsewhere on the page. Errors: UserError for what is no analysis.
    """
    analysis = read_json(root / "analysis.json")
    if not isinstance(analysis, dict) or "groups" not in analysis:
        raise UserError(f"{root / 'analysis.json'}: not an analysis of this version; run lgd analyze again")
    styles = styles_of(map(plots.plain, dict.fromkeys([*order, *(one["group"] for one in analysis["sets"].values())])))
    found: dict[str, Figure] = {}
    for name, measure in MEASURES.items():
        groups: dict[str, dict[Cells, Any]] = {}
        for owner, entry in analysis["sets"].items():
            if entry.get(name) is not None:
                groups.setdefault(plots.plain(entry["group"]), {})[Cells(root, owner, name)] = entry[name]
        if measure.plot and groups:
            figure = Figure(layout="constrained")
            measure.plot(figure, {name: groups[name] for name in styles if name in groups}, styles)
            if figure.axes:
                found[name] = figure
    return found


def write_figures(root: Path) -> None:
    """Draw and save the figures under `root`/figures as SVG and PNG."""
    for name, figure in plot_analysis(root).items():
        plots.save(figure, root / "figures" / name)
