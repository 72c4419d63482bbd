"""All measures, in the order of the table and the figures (docs/analyses.md shows how to add one)."""

from __future__ import annotations

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
