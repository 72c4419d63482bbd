"""Threads, devices and memory of this machine."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lgd.config import ComputeConfig
from lgd.errors import UserError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""constants of glibc's malloc.h"""
KEPT = 2**31 - 1
"""free bytes at the end of the heap that the process keeps; the largest value that glibc takes"""
IN_HEAP = 32 * 2**20
"""size in bytes up to which memory comes from the heap; the largest value that glibc allows"""


def keep_freed_memory() -> None:
    """Keep the memory of freed tensors in this process and those that it starts, for later tensors.

    glibc returns large blocks to Linux at once, which then fills every page of the next block with zeros. That takes a
    tenth to a third of training time on the CPU (benchmarks/profile.md). Above the heap's limit torch uses huge pages,
    if this is called before its first tensor. Without glibc only the huge pages have an effect.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEPT)
        mallopt(M_MMAP_THRESHOLD, IN_HEAP)


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Compute with `count` CPU threads in the block; keep freed memory from then on."""
    import torch

    keep_freed_memory()
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def resolve_device(name: str) -> str:
    """Return the device of a name: `auto` is CUDA where available, else the CPU."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name


def check_device(name: str) -> None:
    """Check that a device exists. Errors: UserError for one that torch or this machine does not have."""
    import torch

    try:
        torch.empty(1, device=resolve_device(name))
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"compute.device: {name!r} is not available: {str(error).splitlines()[0]}") from None


def worker_count(compute: ComputeConfig) -> int:
    """Return the number of processes for units of work: as configured, or one per core, or one on a GPU."""
    from loky import cpu_count

    if compute.workers:
        return compute.workers
    return 1 if resolve_device(compute.device).startswith("cuda") else cpu_count()


def computes_in_bfloat16(device: str = "") -> bool:
    """Return whether a device has instructions for bfloat16; without them it is slower than float32.

    device: a name, or empty for the best one.
    """
    import torch

    if device.startswith("cuda") or (not device and torch.cuda.is_available()):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
