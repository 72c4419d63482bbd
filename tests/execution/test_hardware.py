"""The process keeps the memory of freed tensors; the number of threads is restored after a block."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest
import torch

from lgd.execution.hardware import cpu_threads, keep_freed_memory

FREE_AFTER = """
import ctypes
{before}
import torch

class Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

mallinfo2 = ctypes.CDLL(None).mallinfo2
mallinfo2.restype = Mallinfo2
torch.ones(20, 2**18)
print(mallinfo2().fordblks)
"""


def free_bytes(before: str) -> int:
    """Return the bytes that the allocator of a separate process holds after a tensor of 20 MB was freed."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("THP_", "MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", FREE_AFTER.format(before=before)]
    return int(subprocess.run(command, env=own, capture_output=True, text=True, check=True).stdout)


def has_mallinfo() -> bool:
    return sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallinfo2")


@pytest.mark.skipif(not has_mallinfo(), reason="asks glibc's allocator")
def test_memory_of_tensors_is_kept() -> None:
    tensor = 20 * 2**20
    assert free_bytes("") < tensor
    assert free_bytes("from lgd.execution.hardware import keep_freed_memory; keep_freed_memory()") >= tensor


def test_huge_pages_are_asked_for_unless_the_user_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE", raising=False)
    keep_freed_memory()
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "1"
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")
    keep_freed_memory()
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "0"


def test_threads_are_set_for_the_block_alone() -> None:
    before = torch.get_num_threads()
    with cpu_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
