"""Threads, devices and memory of this machine."""

import ctypes
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any

from lgd.config import ComputeConfig
from lgd.errors import UserError, first_line
from lgd.progress import log

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # constants of glibc's malloc.h
PRODUCT = 512  # side of the matrices whose product compares bfloat16 with float32
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


_warned: set[str] = set()
"""devices that `warn_of_emulation` has named"""


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Compute with `count` CPU threads in the block, at most one per core; keep freed memory from then on.

    Two threads on one core wait for each other: a ResNet in bfloat16 then takes ten times as long.
    """
    import torch
    from loky import cpu_count

    keep_freed_memory()
    before = torch.get_num_threads()
    torch.set_num_threads(min(count, cpu_count()))
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
    """Check that a device exists. Errors: UserError for one that lgd, torch or this machine does not have."""
    import torch

    if name.partition(":")[0] not in ("auto", "cpu", "cuda"):  # those that lgd has run on
        known = "cpu, cuda, cuda:N and auto"
        hint = "; on a Mac, cpu is the one that works" if name == "mps" else ""
        raise UserError(f"compute.device: {name!r} is not supported; supported are {known}{hint}")
    try:
        torch.empty(1, device=resolve_device(name))
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"compute.device: {name!r} is not available: {first_line(error)}") from None


def worker_count(compute: ComputeConfig) -> int:
    """Return the number of processes for units of work: as configured, or one per core, or one on a GPU."""
    from loky import cpu_count

    if compute.workers:
        return compute.workers
    return 1 if resolve_device(compute.device).startswith("cuda") else cpu_count()


def computes_in_bfloat16(device: str = "") -> bool:
    """Return whether a device, empty for the best one, has instructions for bfloat16."""
    import torch

    if device.startswith("cuda") or (not device and torch.cuda.is_available()):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


@cache
def bfloat16_factor(device: str) -> float:
    """Measure the time of a matrix product in bfloat16 as a multiple of that in float32, on a device; once."""
    import torch

    def seconds(x: torch.Tensor) -> float:
        start = perf_counter()
        float((x @ x)[0, 0])  # reading a number waits for a GPU
        return perf_counter() - start

    x = torch.ones(PRODUCT, PRODUCT, device=device)
    half = x.to(torch.bfloat16)
    turns = [(seconds(half), seconds(x)) for _ in range(6)][1:]  # the first prepares
    return min(turn[0] for turn in turns) / min(turn[1] for turn in turns)


def warn_of_emulation(device: str, settings: Mapping[str, Any]) -> None:
    """Warn once per process when settings, as plain data, ask for bfloat16 on a device that emulates it."""
    asking = fields_in_bfloat16(settings)
    if asking and device not in _warned and not computes_in_bfloat16(device):
        _warned.add(device)
        log.warning(
            f"{device_name(device)} emulates bfloat16: a matrix product takes {bfloat16_factor(device):.1f} times as"
            f" long as in float32; {', '.join(asking)} = float32 avoids that"
        )


def fields_in_bfloat16(settings: Mapping[str, Any], prefix: str = "") -> list[str]:
    found = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found += fields_in_bfloat16(value, f"{prefix}{name}.")
        elif value == "bfloat16":
            found.append(prefix + name)
    return found


def device_name(device: str) -> str:
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
