"""The bootstrap against a plain loop, and the pairing of runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lgd.evaluation.differences import bootstrap_interval, paired_differences


def test_bootstrap_against_a_plain_loop() -> None:
    values = [[1.0, 2.0, 4.0], [-1.0, 0.0, 3.0]]
    random = np.random.default_rng(5)
    runs, seeds = random.integers(0, 2, (300, 2)), random.integers(0, 3, (300, 2, 3))
    means = []
    for draw in range(300):
        taken = [values[runs[draw, r]][seeds[draw, r, s]] for r in range(2) for s in range(3)]
        means.append(sum(taken) / 6)
    expected = np.quantile(means, 0.05), np.quantile(means, 0.95)
    assert bootstrap_interval(values, level=0.9, draws=300, seed=5) == pytest.approx(expected)


def test_bootstrap_of_equal_differences_is_a_point() -> None:
    assert bootstrap_interval([[2.0, 2.0]] * 3) == (2.0, 2.0)


def test_bootstrap_covers_as_it_says() -> None:
    """95 % intervals over 20 runs of one seed hold the true mean about that often."""
    random = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        low, high = bootstrap_interval(random.normal(1.0, 2.0, (20, 1)).tolist(), draws=400, seed=trial)
        hits += low <= 1.0 <= high
    assert 175 <= hits <= 200


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
    assert 3.0 <= row["low"] <= row["high"] <= 4.0
