"""All measures, in the order of the table and the figures (docs/analyses.md shows how to add one), and the table."""

from collections.abc import Mapping
from typing import Any

from lgd.evaluation.tables import Table, explained, plus_minus

from . import dynamics, fidelity, incremental, neighbours, redundancy, validity
from .measure import Measure

MEASURES: dict[str, Measure] = {
    "redundancy": redundancy.MEASURE,
    "incremental": incremental.MEASURE,
    "dynamics": dynamics.MEASURE,
    "validity": validity.VALIDITY,
    "adversarial": validity.ADVERSARIAL,
    "neighbours": neighbours.MEASURE,
    "fid": fidelity.FID,
    "kid": fidelity.KID,
    "precision": fidelity.PRECISION,
    "recall": fidelity.RECALL,
}


def table_rows(analysis: Mapping[str, Any]) -> list[list[str]]:
    """A row per headline number: its title, then its text for each group."""
    headlines = [headline for measure in MEASURES.values() for headline in measure.headlines]
    groups = analysis["groups"].values()
    return [[h.title, *(_text(group.get(h.key), h.decimals) for group in groups)] for h in headlines]


def _text(value: Mapping[str, Any] | None, decimals: int) -> str:
    """`mean ± deviation` over several sets; of a list, the means with their signs; a dash where there is no number."""
    if value is None:
        return "-"
    if isinstance(value["mean"], list):
        return " ".join(f"{mean:+.{decimals}f}" for mean in value["mean"])
    return plus_minus(value, decimals)


def analysis_table(analysis: Mapping[str, Any]) -> str:
    """Return the Markdown table: a row per headline number, a column per group; its caption is below."""
    names = [f"{name} ({g['sets']} sets)" if g["sets"] > 1 else name for name, g in analysis["groups"].items()]
    caption = (
        "Mean ± standard deviation over the sets of a column, where it has several. docs/analyses.md explains each row."
    )
    return explained(Table("analysis", caption, ["", *names], table_rows(analysis)))
