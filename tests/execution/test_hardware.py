"""The process keeps the memory of freed tensors; the number of threads is restored after a block."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lgd.execution.hardware import cpu_threads

MEASURE = """
import resource, sys
{before}
import torch

def faults(megabytes):
    torch.ones(megabytes, 2**18)
    start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(megabytes, 2**18)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - start

print(faults(20), faults(200))
"""


def page_faults(before: str) -> tuple[int, int]:
    """Count the page faults of twenty tensors of 20 and of 200 MB, one after the other, in a separate process."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("THP_", "MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", MEASURE.format(before=before)], env=own, capture_output=True, text=True, check=True
    )
    small, large = map(int, done.stdout.split())
    return small, large


def huge_pages() -> bool:
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return setting.exists() and "[never]" not in setting.read_text()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts Linux's page faults")
def test_memory_of_tensors_is_used_again() -> None:
    small, large = page_faults("")
    kept_small, kept_large = page_faults("from lgd.execution.hardware import keep_freed_memory; keep_freed_memory()")
    assert kept_small < small / 20
    if huge_pages():
        assert kept_large < large / 20


def test_threads_are_set_for_the_block_alone() -> None:
    before = torch.get_num_threads()
    with cpu_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
