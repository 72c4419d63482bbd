"""Work on many items in batches as large as the memory holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import torch

from lgd.errors import is_out_of_memory

T = TypeVar("T")
R = TypeVar("R")


class Limit(Protocol):
    """Whoever remembers how many items fit."""

    batch_size: int


def in_batches(work: Callable[[Sequence[T]], list[R]], items: Sequence[T], limit: Limit) -> list[R]:
    """The results of `work` on batches of at most `limit.batch_size` items, in order.

    A batch that runs out of memory is halved and done again, and so are those after it. `work` must leave nothing
    behind that its repetition would trip over. Errors: the one of a single item that does not fit.
    """
    done: list[R] = []
    while len(done) < len(items):
        batch = items[len(done) : len(done) + limit.batch_size]
        try:
            done += work(batch)
        except (RuntimeError, MemoryError) as error:
            if len(batch) == 1 or not is_out_of_memory(error):
                raise
            limit.batch_size = (len(batch) + 1) // 2
        else:
            continue
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # after the failed batch has left the frame of the error
    return done
