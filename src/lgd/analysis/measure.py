"""The parts of a measure: one analysis, from its computation to its figure. `registry.py` lists all measures."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from lgd.storage.files import read_json, safe_name

from .context import Inputs

REAL = "real images"
"""owner of the cells computed from the real images"""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""of groups in figures: the palette of Okabe and Ito, which colour-blind readers can tell apart"""
MARKERS = "osD^vPX"
LINES = ("-", "--", ":", "-.")
"""line styles: the next one each time that the colours repeat"""


@dataclass(frozen=True)
class Style:
    """The look of one group in all figures of a page."""

    colour: str
    marker: str
    line: str
    filled: bool
    """whether the marker is; empty ones stand for the colours' second turn"""


def styles_of(names: Iterable[str]) -> dict[str, Style]:
    """Return a style for every name, in their order, so that a group looks the same in every figure."""
    found = {}
    for i, name in enumerate(names):
        turn, place = divmod(i, len(COLOURS))
        found[name] = Style(COLOURS[place], MARKERS[place], LINES[turn % len(LINES)], turn % 2 == 0)
    return found


def panels(figure: Figure, titles: Sequence[str], height: float) -> list[Any]:
    """Return one axis per title, side by side; x is a probability and y is shared."""
    figure.set_size_inches(3.2 * len(titles) + 0.4, height)
    axes = list(figure.subplots(1, len(titles), squeeze=False, sharey=True)[0])
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title, fontsize=10)
        axis.set_xlim(-0.03, 1.03)
        axis.grid(alpha=0.25)
    return axes


@dataclass(frozen=True)
class Cells:
    """The stored results of one measure on one set: a JSON file per seed and increment."""

    root: Path
    """directory of the analysis"""
    owner: str
    """name of the set, or REAL"""
    measure: str

    def path(self, seed: int, increment: int) -> Path:
        folder = self.root / "cells" / safe_name(self.owner) / self.measure
        return folder / f"{seed:06d}-{increment:06d}.json"

    def values(self) -> list[Any]:
        """Read the finished results, ordered by seed, then by increment."""
        return [read_json(path) for path in sorted(self.path(0, 0).parent.glob("*.json"))]


Groups = Mapping[str, Mapping[Cells, Any]]
"""group -> cells of each of its sets -> what `Measure.aggregate` returned for them"""


@dataclass(frozen=True)
class Headline:
    """A number of a measure that has a row of its own in the table."""

    key: str
    """its name in analysis.json's groups"""
    title: str
    """with the unit"""
    decimals: int = 1
    path: tuple[str, ...] = ()
    """keys that lead from the measure's result to the number, or to a list of numbers; empty: the result itself"""
    baseline: str = ""
    """group against which analysis.json states the relative reduction in percent; empty: none"""


@dataclass(frozen=True)
class Measure:
    """One analysis. A set with fewer than `least_increments` increments has no result of it."""

    title: str
    how_to_read: str
    """shown in the report and in docs/analyses.md"""
    compute: Callable[[Inputs], Any]
    """one cell, as JSON holds it; a function at the top of a module, so that worker processes can find it"""
    headlines: tuple[Headline, ...]
    aggregate: Callable[[Cells], Any] = lambda cells: cells.values()[0]
    """a set's entry in analysis.json, from its finished cells"""
    plot: Callable[[Figure, Groups, Mapping[str, Style]], None] | None = None
    """draw on an empty figure, each group in its style; a figure left without axes is not shown"""
    per_seed: bool = False
    """compute a cell for every seed, else one"""
    per_increment: bool = False
    """compute a cell for every increment, else one"""
    least_increments: int = 1
    on_real: bool = False
    """also compute it on the real images"""
