"""A command killed at random moments: the continued run ends with the same bytes and makes no file twice.

`python -m tests.execution.test_kill` runs it thirty times and prints the table of docs/reliability.md.
"""

from __future__ import annotations

import random
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil
import pytest
from tests.cli.test_main import forked, toml
from tests.conftest import tiny_config

from lgd.config import Config
from lgd.execution.receipts import damaged
from lgd.storage.files import sha256

SEED = 7


@dataclass(frozen=True)
class Kill:
    """One kill, and the run that continued after it."""

    seconds: float
    reached: str
    finished: int
    """files that were finished at that moment"""
    again: int
    """those of them that were made a second time"""
    same: bool
    """whether the run ended with the SHA-256 list of the one that was never killed"""


def digests(root: Path) -> dict[str, str]:
    """Return the SHA-256 of the files of a run, except receipts, which a kill just after a `done` file prevents."""
    parts = [*root.glob("increments/**/*"), *root.glob("dataset/**/*"), *root.glob("evaluation/*")]
    return {str(p.relative_to(root)): sha256(p) for p in parts if p.is_file() and p.name[0] != "."}


def finished_files(root: Path) -> dict[Path, tuple[int, int]]:
    """Return the inode and the modification time of every file of a finished unit."""
    found: dict[Path, tuple[int, int]] = {}
    for receipt in root.rglob(".*.sha256"):
        done = receipt.with_name(receipt.name[1:].removesuffix(".sha256"))
        if done.exists() and not damaged(done, root):
            for line in receipt.read_text().splitlines():
                path = (done.parent / line.split("  ", 1)[1]).resolve()
                found[path] = (path.stat().st_ino, path.stat().st_mtime_ns)
    return found


def reached(root: Path) -> str:
    """Describe the progress of a run by its files."""
    done = sorted(path.parent.name for path in root.glob("increments/*/done"))
    if list(root.glob("evaluation/*.json")):
        return f"evaluation, {len(list(root.glob('evaluation/*.json')))} cells"
    if done:
        return f"increments, {int(done[-1])} finished"
    for name, file in (("increments, 0 finished", "reference.safetensors"), ("reference", "generator/done")):
        if (root / file).exists():
            return name
    return "generator" if (root / "assets.json").exists() else "before the first file"


def killed_runs(preset: Path, folder: Path, count: int, expected: dict[str, str]) -> Iterator[Kill]:
    """Kill `count` runs, each at a random moment within the duration of a whole run, and continue each."""
    command = ["distill", str(preset), "--quiet", "--compute.workers", "2", "--out"]
    start = time.monotonic()
    assert ended(forked(*command, folder / "whole")) == 0
    whole = time.monotonic() - start
    draw = random.Random(SEED)
    killed = 0
    while killed < count:
        root, moment = folder / f"run{killed}", draw.uniform(0, whole)
        process = forked(*command, root)
        time.sleep(moment)
        workers = psutil.Process(process.pid).children(recursive=True) if process.is_alive() else []
        process.kill()
        psutil.wait_procs(workers, timeout=10)  # each ends soon after its parent
        if ended(process) != -signal.SIGKILL:  # it was quicker than the first, and is not counted
            shutil.rmtree(root)
            continue
        killed += 1
        state, before = reached(root), finished_files(root)
        assert ended(forked(*command, root)) == 0
        again = sum((p.stat().st_ino, p.stat().st_mtime_ns) != identity for p, identity in before.items())
        yield Kill(moment, state, len(before), again, digests(root) == expected)


def ended(process: BaseProcess) -> int | None:
    process.join()
    return process.exitcode


@pytest.mark.usefixtures("forked_workers")
@pytest.mark.parametrize("count", [1, pytest.param(30, marks=pytest.mark.slow)])
def test_killed_at_random_moments(count: int, tiny: Config, finished: Path, tmp_path: Path) -> None:
    kills = list(killed_runs(toml(tiny, tmp_path / "tiny.toml"), tmp_path, count, digests(finished)))
    assert [(kill.again, kill.same) for kill in kills] == [(0, True)] * count


def main() -> None:
    from lgd.experiments.distill import distill

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        finished = distill(tiny_config(), folder / "expected").root
        print("| | killed after, s | the run was at | finished files | made again | same SHA-256 list |")
        print("|---:|---:|---|---:|---:|---|")
        preset = toml(tiny_config(), folder / "tiny.toml")
        for number, kill in enumerate(killed_runs(preset, folder, 30, digests(finished)), 1):
            same = "yes" if kill.same else "NO"
            print(
                f"| {number} | {kill.seconds:.1f} | {kill.reached} | {kill.finished} | {kill.again} | {same} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
