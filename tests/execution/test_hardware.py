"""The process keeps the memory of freed tensors; the number of threads is restored after a block."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest
import torch

from lgd.errors import UserError
from lgd.execution import hardware
from lgd.execution.hardware import check_device, cpu_threads, keep_freed_memory, warn_of_emulation

FREE_WITHOUT_AND_WITH = """
import ctypes, os
import torch
from lgd.execution.hardware import keep_freed_memory

class Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

mallinfo2 = ctypes.CDLL(None).mallinfo2
mallinfo2.restype = Mallinfo2
child = os.fork()
if child:
    os.waitpid(child, 0)
    keep_freed_memory()
torch.ones(20, 2**18)
print(mallinfo2().fordblks, flush=True)
"""
"""prints the bytes that the allocator holds after a tensor of 20 MB was freed, without and with the setting"""


def has_mallinfo() -> bool:
    return sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallinfo2")


@pytest.mark.skipif(not has_mallinfo(), reason="asks glibc's allocator")
def test_memory_of_tensors_is_kept() -> None:
    tensor = 20 * 2**20
    own = {name: value for name, value in os.environ.items() if not name.startswith(("THP_", "MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", FREE_WITHOUT_AND_WITH]
    without, kept = subprocess.run(command, env=own, capture_output=True, text=True, check=True).stdout.split()
    assert int(without) < tensor <= int(kept)


def test_huge_pages_are_asked_for_unless_the_user_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE", raising=False)
    keep_freed_memory()
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "1"
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")
    keep_freed_memory()
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "0"


def test_threads_are_set_for_the_block_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loky.cpu_count", lambda: 64)
    before = torch.get_num_threads()
    with cpu_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_threads_are_at_most_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loky.cpu_count", lambda: 2)
    with cpu_threads(5):
        assert torch.get_num_threads() == 2


def test_a_mac_s_gpu_is_refused_in_plain_words() -> None:
    with pytest.raises(UserError, match=r"'mps' is not supported; supported are cpu, .*; on a Mac, cpu is the one"):
        check_device("mps")
    with pytest.raises(UserError, match="'xpu:0' is not supported"):
        check_device("xpu:0")
    check_device("cpu")


SETTINGS = {"sampling": {"precision": "bfloat16", "steps": 5}, "learner": {"training": {"precision": "float32"}}}


@pytest.mark.parametrize("native", [True, False])
def test_emulated_bfloat16_is_told_once(
    native: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hardware, "_warned", set())
    monkeypatch.setattr(hardware, "computes_in_bfloat16", lambda device: native)
    monkeypatch.setattr(hardware, "bfloat16_factor", lambda device: 3.25)
    for _ in range(2):
        warn_of_emulation("cpu", {"learner": SETTINGS["learner"]})
        warn_of_emulation("cpu", SETTINGS)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == (not native)
    assert native or "takes 3.2 times as long as in float32; sampling.precision = float32 avoids that" in told[0]


def test_the_factor_is_that_of_two_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that advances by what each product computes: bfloat16 three times as slow."""
    now, costs = [0.0], {torch.float32: 1.0, torch.bfloat16: 3.0}
    real = torch.Tensor.__matmul__

    def product(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        now[0] += costs[x.dtype]
        return real(x, y)

    monkeypatch.setattr(torch.Tensor, "__matmul__", product)
    monkeypatch.setattr(hardware, "perf_counter", lambda: now[0])
    assert hardware.bfloat16_factor.__wrapped__("cpu") == 3.0
