"""The headline numbers of an analysis as a Markdown table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TITLES = {
    "redundancy": ("redundancy, %", 1),
    "loss_jump": ("loss jump, nats", 2),
    "easy": ("easy, %", 1),
    "informative": ("informative, %", 1),
    "hard": ("hard, %", 1),
    "divergence": ("JS from real, bits", 3),
    "difficulty": ("difficulty, nats", 2),
    "valid": ("valid, %", 1),
    "outliers": ("outliers, %", 1),
    "close": ("close to a real one, %", 1),
    "exact_copies": ("exact copies", 1),
    "fid": ("FID", 1),
    "kid": ("KID", 3),
    "precision": ("precision, %", 1),
    "recall": ("recall, %", 1),
}
"""title and decimals of each number"""


def cell(value: Mapping[str, float] | None, decimals: int, several: bool) -> str:
    """`mean ± deviation` over several sets, else the number."""
    if value is None:
        return "-"
    text = f"{value['mean']:.{decimals}f}"
    return f"{text} ± {value['std']:.{decimals}f}" if several else text


def analysis_table(analysis: Mapping[str, Any]) -> str:
    """A row per number, a column per group."""
    groups = analysis["groups"]
    rows = [["", *(f"{name} ({g['sets']} sets)" if g["sets"] > 1 else name for name, g in groups.items())]]
    for key, (title, decimals) in TITLES.items():
        rows.append([title, *(cell(g[key], decimals, g["sets"] > 1) for g in groups.values())])
    rows.append(["gain per increment, %", *(_gains(analysis, name) for name in groups)])
    rows = [[text.replace("|", "\\|") for text in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    rows.insert(1, ["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])])
    lines = ["| " + " | ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _gains(analysis: Mapping[str, Any], group: str) -> str:
    gains = mean_gains(analysis, group)
    return " ".join(f"{gain:+.1f}" for gain in gains) if gains else "-"


def mean_gains(analysis: Mapping[str, Any], group: str) -> list[float]:
    """Accuracy gain in percent of each increment after the first, averaged over the group's sets of most increments."""
    found = [s["incremental"]["gain"] for s in analysis["sets"].values() if s["group"] == group and s["incremental"]]
    longest = max(map(len, found), default=0)
    kept = [gains for gains in found if len(gains) == longest]
    return [sum(values) / len(values) for values in zip(*kept, strict=True)]
