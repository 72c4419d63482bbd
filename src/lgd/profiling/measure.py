"""Measure functions in turns, so that other load on the machine slows all of them alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import torch


@dataclass(frozen=True)
class Times:
    """The times of one function."""

    seconds: tuple[float, ...]
    """one per turn"""

    @property
    def median(self) -> float:
        return median(self.seconds)

    @property
    def spread(self) -> float:
        """Return half the range of the middle half of the turns, as a share of the median."""
        ordered = sorted(self.seconds)
        quarter = len(ordered) // 4
        middle = ordered[quarter : len(ordered) - quarter]
        return (middle[-1] - middle[0]) / 2 / self.median


Clock = Callable[[], float]
"""Returns seconds: perf_counter, or process_time, which other load changes less (for one thread)."""


def take_turns(
    functions: Mapping[str, Callable[[], Any]],
    rounds: int,
    warm_up: bool = True,
    clock: Clock = perf_counter,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Times]:
    """Time every function once per round, after one that does not count if `warm_up`; then `advance` each time."""
    found: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(-1 if warm_up else 0, rounds):
        for name, function in functions.items():
            seconds = timed(function, clock)
            advance()
            if number >= 0:
                found[name].append(seconds)
    return {name: Times(tuple(seconds)) for name, seconds in found.items()}


def timed(function: Callable[[], Any], clock: Clock = perf_counter) -> float:
    """Return the seconds of one call, the device's work included."""
    wait()
    start = clock()
    function()
    wait()
    return clock() - start


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
