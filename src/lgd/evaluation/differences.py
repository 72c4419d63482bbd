"""Paired differences between methods, with an interval over runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

from .intervals import t_interval


def paired_differences(metrics: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return the accuracy of each later method minus each earlier one, in percentage points, by architecture and IPC.

    metrics: of each method's runs. Pairs share the run's seed, hence the images' seeds, and the classifier's, hence its
    weights and the order of its batches; a run without its partner is left out. `low` and `high` bound the paired t
    interval over the runs' means; they are None with one run, which tells nothing about the spread between runs.
    """
    values = {method: values_by_cell(runs) for method, runs in metrics.items()}
    rows = []
    for against, method in combinations(values, 2):
        for cell, runs in values[method].items():
            others = values[against].get(cell, {})
            shared = [seed for seed in runs if seed in others]
            if not shared:
                continue
            means = [fmean(runs[seed]) - fmean(others[seed]) for seed in shared]
            ipc, architecture = cell
            low, high = t_interval(means) or (None, None)
            rows.append(
                {
                    "method": method,
                    "against": against,
                    "architecture": architecture,
                    "ipc": ipc,
                    "difference": fmean(means),
                    "low": low,
                    "high": high,
                    "runs": len(means),
                    "seeds": len(runs[shared[0]]),
                }
            )
    return rows


def values_by_cell(runs: Sequence[Mapping[str, Any]]) -> dict[tuple[int, str], dict[int, list[float]]]:
    """Return the seeds' accuracies of one method by (IPC, architecture), then by the run's seed."""
    found: dict[tuple[int, str], dict[int, list[float]]] = {}
    for run in runs:
        for increment in run["increments"]:
            for architecture, cell in increment["architectures"].items():
                found.setdefault((increment["ipc"], architecture), {})[run["seed"]] = cell["values"]
    return found
