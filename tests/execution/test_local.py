"""Units that a worker computes while this process does other work."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from lgd.errors import IncompleteError
from lgd.execution.local import Local
from lgd.execution.units import LOG, Unit
from lgd.storage.files import write_text


def work(done: Path) -> None:
    write_text(done, str(os.getpid()))


def break_down(done: Path) -> None:
    raise ArithmeticError("broken")


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lgd.execution.local.cpu_count", lambda: 2)


def wait_for(path: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} was not made beside the block"
        time.sleep(0.05)


@pytest.mark.usefixtures("cores", "forked_workers")
def test_a_worker_begins_while_the_block_computes(tmp_path: Path) -> None:
    done = tmp_path / "done"
    with Local(2, tmp_path) as engine, engine.beside([Unit("u", work, (done,), done)], "u", 1):
        wait_for(done)
    assert int(done.read_text()) != os.getpid()


@pytest.mark.usefixtures("cores", "forked_workers")
def test_the_block_is_followed_by_the_wait_and_by_what_failed(tmp_path: Path) -> None:
    slow, broken = tmp_path / "slow", tmp_path / "broken"
    units = [Unit("slow", work, (slow,), slow), Unit("bad", break_down, (broken,), broken)]
    with Local(2, tmp_path) as engine:
        with pytest.raises(IncompleteError) as failed, engine.beside(units, "u", 1):
            pass
        (failure,) = failed.value.failures
        assert failure.reason == f"ArithmeticError: broken; traceback in {tmp_path / LOG}"
        assert slow.exists()


@pytest.mark.usefixtures("cores")
def test_an_error_of_the_block_is_its_own(tmp_path: Path) -> None:
    units = [Unit(f"bad{i}", break_down, (tmp_path / str(i),), tmp_path / str(i)) for i in range(3)]
    with (
        pytest.raises(KeyError),
        Local(2, tmp_path) as engine,
        engine.beside(units, "u", 1),
    ):
        raise KeyError


@pytest.mark.parametrize(("workers", "threads"), [(1, 1), (2, 2)])
@pytest.mark.usefixtures("cores")
def test_nothing_is_begun_without_cores_of_its_own(workers: int, threads: int, tmp_path: Path) -> None:
    done = tmp_path / "done"
    with Local(workers, tmp_path) as engine:
        with engine.beside([Unit("u", work, (done,), done)], "u", threads):
            time.sleep(0.1)
        assert engine._pool is None
    assert not done.exists()
