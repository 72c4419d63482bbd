"""Batches that shrink when memory runs out."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from lgd.distillation.resources import in_batches
from lgd.errors import is_out_of_memory


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError()])
def test_halved_until_it_fits_and_no_item_is_lost(error: Exception) -> None:
    sizes: list[int] = []
    items = torch.arange(20)

    def work(part: slice) -> Tensor:
        sizes.append(len(items[part]))
        if len(items[part]) > 3:
            raise error
        return 10 * items[part]

    limit = SimpleNamespace(batch_size=16)
    assert torch.equal(in_batches(work, 20, limit), 10 * items)
    assert sizes[:4] == [16, 8, 4, 2]
    assert set(sizes[4:]) == {2}
    assert limit.batch_size == 2


def test_every_tensor_of_a_tuple_is_joined() -> None:
    items = torch.randn(7, 2)
    sums, signs = in_batches(lambda part: (items[part].sum(1), items[part] > 0), 7, SimpleNamespace(batch_size=3))
    torch.testing.assert_close(sums, items.sum(1))
    assert torch.equal(signs, items > 0)


def test_a_single_item_that_does_not_fit_and_other_errors_are_raised() -> None:
    def full(part: slice) -> Tensor:
        raise torch.OutOfMemoryError("out of memory")

    def wrong(part: slice) -> Tensor:
        raise RuntimeError("shapes differ")

    with pytest.raises(torch.OutOfMemoryError):
        in_batches(full, 4, SimpleNamespace(batch_size=4))
    limit = SimpleNamespace(batch_size=4)
    with pytest.raises(RuntimeError, match="shapes differ"):
        in_batches(wrong, 4, limit)
    assert limit.batch_size == 4


def test_what_counts_as_out_of_memory() -> None:
    words = "[enforce fail at alloc_cpu.cpp:1] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 B"
    assert is_out_of_memory(RuntimeError(words))
    assert not is_out_of_memory(RuntimeError("expected scalar type Float"))
    assert not is_out_of_memory(ValueError("out of memory"))
