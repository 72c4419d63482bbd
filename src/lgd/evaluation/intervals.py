"""Intervals over runs and over classifiers, and paired differences between methods with such an interval."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import sqrt
from statistics import fmean, stdev
from typing import Any

from scipy.special import stdtrit

LEVEL = 0.95


def t_interval(values: Sequence[float], level: float = LEVEL) -> tuple[float, float] | None:
    """Return Student's t interval of the mean of independent, about normal values; None for fewer than two.

    The values are one per run: classifiers of one run share its images, so they are no independent measurements of a
    method. benchmarks/intervals.md has the coverage by simulation.
    """
    n = len(values)
    if n < 2:
        return None
    half = float(stdtrit(n - 1, (1 + level) / 2)) * stdev(values) / sqrt(n)
    return fmean(values) - half, fmean(values) + half


def prediction_interval(values: Sequence[float], count: int, level: float = LEVEL) -> tuple[float, float] | None:
    """Return Student's interval in which the mean of `count` new values lies; None for fewer than two known ones.

    All are independent, about normal, of one distribution: classifiers that are trained on one set.
    """
    n = len(values)
    if n < 2:
        return None
    half = float(stdtrit(n - 1, (1 + level) / 2)) * stdev(values) * sqrt(1 / n + 1 / count)
    return fmean(values) - half, fmean(values) + half


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
