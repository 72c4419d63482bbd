"""The runs a report is about, read from their directories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from lgd.analysis.inputs import expand, is_run
from lgd.errors import UserError
from lgd.evaluation.aggregate import mean_validity
from lgd.storage.files import read_json


@dataclass(frozen=True)
class FinishedRun:
    """One finished run."""

    path: Path
    method: str
    config: dict[str, Any]
    metrics: dict[str, Any]
    environment: dict[str, Any]
    class_names: tuple[str, ...]


def read_subjects(paths: Sequence[Path]) -> tuple[list[FinishedRun], list[str]]:
    """Finished runs, and notes on the unfinished ones. Errors: UserError when none is finished or one is no run."""
    subjects, notes = [], []
    for path in expand(paths):
        if not is_run(path):
            raise UserError(f"{path}: neither a run nor a compare directory; `lgd analyze` takes plain folders")
        if not (path / "metrics.json").is_file():
            notes.append(f"{path.name} is not finished and left out.")
            continue
        config, environment = read_json(path / "config.json"), path / "environment.json"
        subjects.append(
            FinishedRun(
                path,
                str(config["method"]),
                config,
                read_json(path / "metrics.json"),
                read_json(environment) if environment.is_file() else {},
                tuple(read_json(path / "classes.json")),
            )
        )
    if not subjects:
        raise UserError(f"{paths[0]}: no finished run; `lgd status {paths[0]}` tells what is missing")
    return subjects, notes


def by_method(subjects: Sequence[FinishedRun]) -> dict[str, list[FinishedRun]]:
    """Runs of each method, in the order they were given."""
    found: dict[str, list[FinishedRun]] = {}
    for subject in subjects:
        found.setdefault(subject.method, []).append(subject)
    return found


def averaged(runs: Sequence[FinishedRun]) -> dict[str, Any]:
    """One method's numbers: over its runs of most increments, or over the seeds of its only run."""
    longest = max(len(run.metrics["increments"]) for run in runs)
    kept = [run.metrics for run in runs if len(run.metrics["increments"]) == longest]
    accuracy = {}
    for increments in zip(*(metrics["increments"] for metrics in kept), strict=True):
        means = [one["accuracy"]["mean"] for one in increments]
        over_runs = {"mean": fmean(means), "std": stdev(means), "n": len(means)} if len(means) > 1 else {}
        accuracy[str(increments[0]["ipc"])] = over_runs or increments[0]["accuracy"]
    matrices = [m["redundancy"] for m in kept if m["redundancy"]]
    known = [m["mean_off_diagonal"] for m in matrices if m["mean_off_diagonal"] is not None]
    return {
        "runs": len(kept),
        "accuracy": accuracy,
        "validity": mean_validity(kept),
        "redundancy": fmean(known) if known else None,
        "matrices": [m["matrix"] for m in matrices],
        "reference": fmean(m["reference"]["accuracy"] for m in kept),
        "minutes": fmean(sum(m.get("seconds", {}).values()) for m in kept) / 60,
    }
