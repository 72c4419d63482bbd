"""Intervals of differences against SciPy and by simulation, and the pairing of runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from lgd.evaluation.intervals import paired_differences, t_interval


@pytest.mark.parametrize("values", [[1.0, 2.0, 4.0], [-3.0, 5.5], [0.1, 0.2, 0.2, 0.4, 0.9]])
def test_interval_against_scipys_test(values: list[float]) -> None:
    for level in (0.9, 0.95):
        assert t_interval(values, level) == pytest.approx(tuple(ttest_1samp(values, 0).confidence_interval(level)))


def test_interval_of_one_run_does_not_exist() -> None:
    assert t_interval([3.0]) is None
    assert t_interval([2.0] * 3) == (2.0, 2.0)


@pytest.mark.parametrize("runs", [3, 5, 10])
@pytest.mark.parametrize("between", [0.0, 0.5, 2.0])
def test_interval_covers_as_it_says(runs: int, between: float) -> None:
    """95 % intervals of paired differences hold the true one in 93.5 to 96.5 % of 4000 comparisons.

    A run has five classifiers of deviation 1 around a mean of the run's own, of deviation `between`.
    """
    random = np.random.default_rng(runs)
    hits = 0
    for _ in range(4000):
        means = random.normal(1.0, between, runs)
        values = random.normal(means[:, None], 1.0, (runs, 5))
        metrics = {name: [run(r, (values[r] * sign).tolist()) for r in range(runs)] for name, sign in SIGNS.items()}
        (row,) = paired_differences(metrics)
        hits += row["low"] <= 1.0 <= row["high"]
    assert abs(hits / 4000 - 0.95) <= 0.015


SIGNS = {"a": 0.0, "b": 1.0}


def run(seed: int, values: list[float], ipc: int = 2) -> dict[str, Any]:
    return {"seed": seed, "increments": [{"ipc": ipc, "architectures": {"convnet": {"values": values}}}]}


def test_pairs_share_the_seed_of_their_run() -> None:
    """Method b lacks run 1, method a lacks run 2: only run 0 is a pair."""
    metrics = {
        "a": [run(0, [10.0, 20.0]), run(1, [99.0, 99.0])],
        "b": [run(2, [50.0, 50.0]), run(0, [13.0, 24.0])],
        "c": [run(0, [1.0, 1.0], ipc=4)],
    }
    (row,) = paired_differences(metrics)
    assert {k: row[k] for k in ("method", "against", "ipc", "architecture", "runs", "seeds")} == {
        "method": "b", "against": "a", "ipc": 2, "architecture": "convnet", "runs": 1, "seeds": 2,
    }  # fmt: skip
    assert row["difference"] == 3.5
    assert (row["low"], row["high"]) == (None, None)


def test_seeds_of_one_run_are_averaged_before_runs_are() -> None:
    """The interval is over the runs' means, however many seeds a run has."""
    metrics = {"a": [run(s, [0.0, 0.0]) for s in range(2)], "b": [run(0, [1.0, 3.0]), run(1, [2.0, 8.0])]}
    (row,) = paired_differences(metrics)
    assert (row["difference"], row["low"], row["high"]) == (3.5, *t_interval([2.0, 5.0]))
