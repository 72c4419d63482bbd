"""A table of text, and its three forms: Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lgd.storage.files import write_text


@dataclass(frozen=True)
class Table:
    """What a person reads, and beside it the plain numbers for the CSV file."""

    name: str
    """of its files"""
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    records: Sequence[Mapping[str, Any]]
    """one per number, all with the same keys"""
    words: int = 1
    """leading columns of text, aligned to the left"""


def markdown(table: Table) -> str:
    """A Markdown table with aligned columns."""
    rule = ["---" if i < table.words else "---:" for i in range(len(table.header))]
    lines = [[cell.replace("|", r"\|") for cell in row] for row in (table.header, *table.rows)]
    lines.insert(1, rule)
    widths = [max(len(line[i]) for line in lines) for i in range(len(rule))]
    text = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines]
    return "\n".join(text) + "\n"


def comma_separated(table: Table) -> str:
    """The records, with a header; empty for what was not measured."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(table.records[0]) if table.records else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(table.records)
    return text.getvalue()


def latex(table: Table) -> str:
    """A floating table in booktabs' style."""
    columns = "l" * table.words + "r" * (len(table.header) - table.words)
    lines = [" & ".join(map(escaped, row)) + r" \\" for row in (table.header, *table.rows)]
    return "\n".join(
        [
            r"\begin{table}",
            rf"  \caption{{{escaped(table.caption)}}}",
            r"  \centering",
            rf"  \begin{{tabular}}{{{columns}}}",
            r"    \toprule",
            f"    {lines[0]}",
            r"    \midrule",
            *(f"    {line}" for line in lines[1:]),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def escaped(text: str) -> str:
    """Any text as LaTeX."""
    special = {c: rf"\{c}" for c in "&%$#_{}"} | {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "<": r"$<$",
        ">": r"$>$",
    }
    return "".join(special.get(character, character) for character in text)


def write_tables(folder: Path, tables: Sequence[Table]) -> None:
    """`folder`/NAME.md, .csv and .tex of each."""
    for table in tables:
        write_text(folder / f"{table.name}.md", f"{table.caption}\n\n{markdown(table)}")
        write_text(folder / f"{table.name}.csv", comma_separated(table))
        write_text(folder / f"{table.name}.tex", latex(table))


def spread(cell: Mapping[str, Any] | None) -> str:
    """`mean ± std (n)` of a summary, a dash where there is none."""
    return "-" if cell is None else f"{plus_minus(cell)} ({cell['n']})"


def plus_minus(cell: Mapping[str, Any], decimals: int = 1) -> str:
    """`mean ± std` of a summary; of a single value, which has no deviation, the value alone."""
    mean = f"{cell['mean']:.{decimals}f}"
    return f"{mean} ± {cell['std']:.{decimals}f}" if cell["n"] > 1 else mean


def number(value: float | None) -> str:
    """One decimal, a dash for None."""
    return "-" if value is None else f"{value:.1f}"
