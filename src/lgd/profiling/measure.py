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


Clock = Callable[[], float]
"""perf_counter, or process_time: seconds of the processor, which a busy neighbour lengthens less; for one thread"""


def take_turns(
    functions: Mapping[str, Callable[[], Any]], rounds: int, warm_up: bool = True, clock: Clock = perf_counter
) -> dict[str, Times]:
    """Every function once a round; with `warm_up` after one turn that does not count."""
    found: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(-1 if warm_up else 0, rounds):
        for name, function in functions.items():
            seconds = timed(function, clock)
            if number >= 0:
                found[name].append(seconds)
    return {name: Times(tuple(seconds)) for name, seconds in found.items()}


def timed(function: Callable[[], Any], clock: Clock = perf_counter) -> float:
    """Seconds of one call, the device's work included."""
    wait()
    start = clock()
    function()
    wait()
    return clock() - start


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
