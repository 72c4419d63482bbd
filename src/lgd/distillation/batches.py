"""Work on many items in batches as large as the memory holds."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from lgd.errors import is_out_of_memory

R = TypeVar("R", Tensor, tuple[Tensor, ...])


class Limit(Protocol):
    """Holds the largest batch size, which `in_batches` lowers."""

    batch_size: int


def in_batches(work: Callable[[slice], R], count: int, limit: Limit) -> R:
    """Call `work` on slices of 0 .. count - 1, each of at most `limit.batch_size` items, and concatenate its results.

    work: takes a slice of B items and returns a tensor (B, ...) or a tuple of them. A batch that runs out of memory is
    halved and done again, and so are those after it, so `work` must not change what its repetition reads. Errors: the
    one of a single item that does not fit.
    """
    done: list[Any] = []
    start = 0
    while start < count:
        stop = min(start + limit.batch_size, count)
        try:
            done.append(work(slice(start, stop)))
        except (RuntimeError, MemoryError) as error:
            if stop - start == 1 or not is_out_of_memory(error):
                raise
            limit.batch_size = (stop - start + 1) // 2
        else:
            start = stop
            continue
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # after the failed batch has left the frame of the error
    joined: Any = torch.cat(done) if isinstance(done[0], Tensor) else tuple(map(torch.cat, zip(*done, strict=True)))
    return joined
