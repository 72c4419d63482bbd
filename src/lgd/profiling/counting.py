"""Count the operations and the memory of a computation, also on shapes without data."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode


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


def operations(function: Callable[[], Any]) -> int:
    """Return the floating-point operations of a call on real tensors."""
    with FlopCounterMode(display=False) as counter:
        function()
    return int(counter.get_total_flops())
