"""Batches that shrink when memory runs out."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import torch

from lgd.distillation.batches import in_batches
from lgd.errors import is_out_of_memory


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError()])
def test_halved_until_it_fits_and_no_item_is_lost(error: Exception) -> None:
    sizes: list[int] = []

    def work(part: Sequence[int]) -> list[int]:
        sizes.append(len(part))
        if len(part) > 3:
            raise error
        return [10 * item for item in part]

    limit = SimpleNamespace(batch_size=16)
    assert in_batches(work, range(20), limit) == [10 * item for item in range(20)]
    assert sizes[:4] == [16, 8, 4, 2]
    assert set(sizes[4:]) == {2}
    assert limit.batch_size == 2


def test_a_single_item_that_does_not_fit_and_other_errors_are_raised() -> None:
    def full(part: Sequence[int]) -> list[int]:
        raise torch.OutOfMemoryError("out of memory")

    def wrong(part: Sequence[int]) -> list[int]:
        raise RuntimeError("shapes differ")

    with pytest.raises(torch.OutOfMemoryError):
        in_batches(full, range(4), SimpleNamespace(batch_size=4))
    limit = SimpleNamespace(batch_size=4)
    with pytest.raises(RuntimeError, match="shapes differ"):
        in_batches(wrong, range(4), limit)
    assert limit.batch_size == 4
    assert in_batches(full, [], limit) == []


def test_what_counts_as_out_of_memory() -> None:
    words = "[enforce fail at alloc_cpu.cpp:1] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 B"
    assert is_out_of_memory(RuntimeError(words))
    assert not is_out_of_memory(RuntimeError("expected scalar type Float"))
    assert not is_out_of_memory(ValueError("out of memory"))
