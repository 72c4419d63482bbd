"""Times of functions that take turns, so that a busy neighbour slows them all alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import torch


@dataclass(frozen=True)
class Times:
    """Seconds of one function's turns."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.seconds)

    @property
    def spread(self) -> float:
        """Half the range of the middle half of the turns, as a share of the median."""
        ordered = sorted(self.seconds)
        quarter = len(ordered) // 4
        middle = ordered[quarter : len(ordered) - quarter]
        return (middle[-1] - middle[0]) / 2 / self.median


def take_turns(functions: Mapping[str, Callable[[], Any]], rounds: int, warm_up: bool = True) -> dict[str, Times]:
    """Every function once a round; with `warm_up` after one turn that does not count."""
    found: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(-1 if warm_up else 0, rounds):
        for name, function in functions.items():
            seconds = timed(function)
            if number >= 0:
                found[name].append(seconds)
    return {name: Times(tuple(seconds)) for name, seconds in found.items()}


def timed(function: Callable[[], Any]) -> float:
    """Seconds of one call, the device's work included."""
    wait()
    start = perf_counter()
    function()
    wait()
    return perf_counter() - start


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
