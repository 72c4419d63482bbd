"""Paired differences between methods, with a bootstrap interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from lgd.rng import derive_seed

DRAWS = 2000


def bootstrap_interval(
    differences: Sequence[Sequence[float]], level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile interval of the mean of `differences`, runs x seeds, by a two-level bootstrap.

    Each draw takes runs with replacement and, in each of them, seeds with replacement: seeds of one run share its
    images, so they are not independent measurements of the method. With one run only the seeds are drawn.
    """
    values = np.asarray(differences, dtype=float)
    R, S = values.shape
    random = np.random.default_rng(seed)
    runs = random.integers(0, R, (draws, R))
    seeds = random.integers(0, S, (draws, R, S))
    means = values[runs[:, :, None], seeds].mean((1, 2))
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_differences(metrics: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return the accuracy of each later method minus each earlier one, in percentage points, by architecture and IPC.

    metrics: of each method's runs. Pairs share the run's seed, hence the images' seeds, and the classifier's, hence its
    weights and the order of its batches; a run without its partner is left out.
    """
    values = {method: values_by_cell(runs) for method, runs in metrics.items()}
    rows = []
    for against, method in combinations(values, 2):
        for cell, runs in values[method].items():
            others = values[against].get(cell, {})
            shared = [seed for seed in runs if seed in others]
            if not shared:
                continue
            pairs = [[a - b for a, b in zip(runs[seed], others[seed], strict=True)] for seed in shared]
            ipc, architecture = cell
            low, high = bootstrap_interval(pairs, seed=derive_seed("bootstrap", method, against, architecture, ipc))
            rows.append(
                {
                    "method": method,
                    "against": against,
                    "architecture": architecture,
                    "ipc": ipc,
                    "difference": float(np.mean(pairs)),
                    "low": low,
                    "high": high,
                    "runs": len(pairs),
                    "seeds": len(pairs[0]),
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
