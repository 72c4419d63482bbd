"""Tables of text as Markdown, CSV and LaTeX."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import LATEX_ESCAPE_RULES, tabulate

from lgd.storage.files import write_text


@dataclass(frozen=True)
class Table:
    """A table with at least one row, and the plain numbers for its CSV file."""

    name: str
    """of its files"""
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    records: Sequence[Mapping[str, Any]] = ()
    """one per number, all with the same keys"""
    words: int = 1
    """leading columns of text, aligned to the left"""


def markdown(table: Table) -> str:
    header, *rows = [[cell.replace("|", r"\|") for cell in row] for row in (table.header, *table.rows)]
    return tabulate(rows, header, "pipe", colalign=_alignment(table), disable_numparse=True) + "\n"


def explained(table: Table) -> str:
    """Return the Markdown table and, below it, the caption, as commands print it."""
    return f"{markdown(table)}\n{table.caption}\n"


def captioned(table: Table) -> str:
    return f"{table.caption}\n\n{markdown(table)}"


def comma_separated(table: Table) -> str:
    """Return the records as CSV with a header; cells of what was not measured are empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(table.records[0]) if table.records else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(table.records)
    return text.getvalue()


def latex(table: Table) -> str:
    """Return a floating LaTeX table in booktabs' style."""
    caption = "".join(LATEX_ESCAPE_RULES.get(character, character) for character in table.caption)
    body = tabulate(table.rows, table.header, "latex_booktabs", colalign=_alignment(table), disable_numparse=True)
    lines = [r"\begin{table}", rf"\caption{{{caption}}}", r"\centering", body, r"\end{table}", ""]
    return "\n".join(lines).replace("±", r"$\pm$")


def _alignment(table: Table) -> list[str]:
    return ["left" if column < table.words else "right" for column in range(len(table.header))]


def write_tables(folder: Path, tables: Sequence[Table]) -> None:
    for table in tables:
        for suffix, form in (("md", captioned), ("csv", comma_separated), ("tex", latex)):
            write_text(folder / f"{table.name}.{suffix}", form(table))


def spread(cell: Mapping[str, Any] | None) -> str:
    """Format a summary as `mean ± std (n)`, None as a dash."""
    return "-" if cell is None else f"{plus_minus(cell)} ({cell['n']})"


def plus_minus(cell: Mapping[str, Any], decimals: int = 1) -> str:
    """Format a summary as `mean ± std`; that of a single value, which has no deviation, as the mean alone."""
    mean = f"{cell['mean']:.{decimals}f}"
    return f"{mean} ± {cell['std']:.{decimals}f}" if cell["n"] > 1 else mean


def number(value: float | None) -> str:
    """Format a number with one decimal, None as a dash."""
    return "-" if value is None else f"{value:.1f}"
