"""Threads, devices and memory of the machine that a process computes on."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lgd.config import ComputeConfig
from lgd.errors import UserError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""of glibc's malloc.h"""
KEPT = 2**31 - 1
"""bytes at the heap's end that stay with the process; the most that can be asked for"""
IN_HEAP = 32 * 2**20
"""bytes below which memory comes from the heap; the most that glibc allows"""


def keep_freed_memory() -> None:
    """Let this process and those that it starts keep the memory that tensors leave, for the tensors to come.

    By itself glibc gives large pieces back at once, and Linux then has to fill every page of the next one with zeros: a
    tenth to a third of the time of training on the CPU (benchmarks/profile.md). Beyond the heap's limit torch asks for
    huge pages, if this is called before its first tensor. Elsewhere than on glibc only that has an effect.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEPT)
        mallopt(M_MMAP_THRESHOLD, IN_HEAP)


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Compute with `count` CPU threads for the block, and with memory that is kept from then on."""
    import torch

    keep_freed_memory()
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def resolve_device(name: str) -> str:
    """`auto` is CUDA where there is one, else the CPU."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name


def check_device(name: str) -> None:
    """Errors: UserError for a device that torch does not know or this machine does not have."""
    import torch

    try:
        torch.empty(1, device=resolve_device(name))
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"compute.device: {name!r} is not here: {str(error).splitlines()[0]}") from None


def worker_count(compute: ComputeConfig) -> int:
    """Processes for units of work: as configured, or one per core; one where a GPU does the work."""
    from loky import cpu_count

    if compute.workers:
        return compute.workers
    return 1 if resolve_device(compute.device).startswith("cuda") else cpu_count()


def computes_in_bfloat16(device: str = "") -> bool:
    """Whether a device has instructions for bfloat16; without them it is slower than float32. Empty: the best one."""
    import torch

    if device.startswith("cuda") or (not device and torch.cuda.is_available()):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
