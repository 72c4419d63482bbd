"""Measure functions in turns, so that other load slows all alike; count their operations and memory, also on shapes."""

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode


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
    clock: Clock = perf_counter,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Times]:
    """Time every function once per round, after one round that does not count; call `advance` each time."""
    found: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(-1, rounds):
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


class Alive(TorchDispatchMode):
    """Counts the bytes of all living storages: `now`, and their maximum `peak`."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        if function is torch.ops.aten._local_scalar_dense.default:
            return 1  # for shapes without data: a gradient is finite, a label is class 1
        result = function(*arguments, **(named or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self.add(tensor)
        return result

    def add(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._remove, key, size)

    def _remove(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def count(function: Callable[[], Any], networks: list[torch.nn.Module]) -> tuple[int, int]:
    """Return the floating-point operations of a call and its peak memory in bytes, the networks' weights included."""
    with Alive() as alive:
        for network in networks:
            for tensor in [*network.parameters(), *network.buffers()]:
                alive.add(tensor)
        with FlopCounterMode(display=False) as counter:
            function()
    return counter.get_total_flops(), alive.peak
