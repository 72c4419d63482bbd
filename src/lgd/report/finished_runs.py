"""The runs of a report, read from their directories."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from lgd.analysis.inputs import expand, is_run
from lgd.distillation.layout import label_of, read_metrics
from lgd.errors import UserError
from lgd.evaluation.aggregate import average_runs
from lgd.storage.files import read_json


@dataclass(frozen=True)
class FinishedRun:
    """One finished run."""

    path: Path
    method: str
    """of an ablation's run, the values of its combination"""
    config: dict[str, Any]
    metrics: dict[str, Any]
    environment: dict[str, Any]
    class_names: tuple[str, ...]


def read_runs(paths: Sequence[Path]) -> tuple[list[FinishedRun], list[str]]:
    """Read the finished runs; return them, and notes on the others.

    Errors: UserError when none is finished or a path is no run.
    """
    runs, notes = [], []
    for path in expand(paths):
        if not is_run(path):
            raise UserError(
                f"{path}: neither a run nor a directory of compare or ablate; `lgd analyze` takes plain folders"
            )
        if not (path / "metrics.json").is_file():
            notes.append(f"{path.name} is not finished and left out.")
            continue
        config, environment = read_json(path / "config.json"), path / "environment.json"
        runs.append(
            FinishedRun(
                path,
                label_of(path) or str(config["method"]),
                config,
                read_metrics(path / "metrics.json"),
                read_json(environment) if environment.is_file() else {},
                tuple(read_json(path / "classes.json")),
            )
        )
    if other := next((run for run in runs if run.class_names != runs[0].class_names), None):
        raise UserError(f"{other.path}: other classes than {runs[0].path}; a report is about one data set")
    if not runs:
        raise UserError(f"{paths[0]}: no finished run; `lgd status {paths[0]}` tells what is missing")
    files = [path / "comparison.json" for path in paths]
    asked = [name for file in files if file.is_file() for name in read_json(file)["methods"]]  # as the commands did
    place = {name: i for i, name in enumerate(asked)}
    return sorted(runs, key=lambda run: place.get(run.method, len(place))), notes


def by_method(runs: Sequence[FinishedRun]) -> dict[str, list[FinishedRun]]:
    """Group runs by method, in their order."""
    found: dict[str, list[FinishedRun]] = {}
    for run in runs:
        found.setdefault(run.method, []).append(run)
    return found


def averaged(runs: Sequence[FinishedRun]) -> dict[str, Any]:
    """Average one method's runs, those with the most increments."""
    longest = max(len(run.metrics["increments"]) for run in runs)
    kept = [run.metrics for run in runs if len(run.metrics["increments"]) == longest]
    return {
        **average_runs(kept),
        "runs": len(kept),
        "reference": fmean(m["reference"]["accuracy"] for m in kept),
        "minutes": fmean(sum(m.get("seconds", {}).values()) for m in kept) / 60,
    }
