"""Which errors are tried again, which stop everything, and where tracebacks go."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from lgd.errors import IncompleteError, NonFiniteError, UserError
from lgd.execution.local import Local
from lgd.execution.units import LOG, Unit
from lgd.storage.files import write_text


def tries(done: Path) -> int:
    note = done.with_suffix(".tries")
    count = int(note.read_text()) if note.exists() else 0
    return count


def fail(done: Path, error: BaseException, times: int) -> None:
    """Raise the error the first few times."""
    count = tries(done) + 1
    done.with_suffix(".tries").write_text(str(count))
    if count <= times:
        raise error
    write_text(done, "")


def units(root: Path, error: BaseException, times: int = 1) -> list[Unit]:
    return [Unit(f"u{i}", fail, (root / f"{i}", error, times if i == 1 else 0), root / f"{i}") for i in range(3)]


MEMORY = RuntimeError("[enforce fail at alloc_cpu.cpp:118] . DefaultCPUAllocator: can't allocate memory")


@pytest.mark.parametrize(
    "error", [MemoryError(), MEMORY, OSError(errno.EIO, "I/O"), ConnectionResetError("x"), TimeoutError("x")]
)
def test_what_may_pass_is_tried_again(error: Exception, tmp_path: Path) -> None:
    with Local(1, tmp_path, retries=2) as engine:
        engine.run(units(tmp_path, error), "u")
    assert [tries(tmp_path / f"{i}") for i in range(3)] == [1, 2, 1]
    assert not (tmp_path / LOG).exists()


@pytest.mark.parametrize("error", [ArithmeticError("x"), RuntimeError("x"), ValueError("x"), NonFiniteError("x")])
def test_what_is_the_units_own_is_not_tried_again_and_stops_no_other(error: Exception, tmp_path: Path) -> None:
    with Local(1, tmp_path, retries=2) as engine, pytest.raises(IncompleteError) as failed:
        engine.run(units(tmp_path, error), "u")
    assert [tries(tmp_path / f"{i}") for i in range(3)] == [1, 1, 1]
    assert [failure.name for failure in failed.value.failures] == ["u1"]
    assert (tmp_path / LOG).exists() is not isinstance(error, UserError)


@pytest.mark.usefixtures("forked_workers")
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("error", [TypeError("f() takes 2 arguments"), KeyError("x"), AssertionError()])
def test_a_mistake_in_the_code_stops_at_once_and_its_traceback_is_kept(
    error: Exception, workers: int, tmp_path: Path
) -> None:
    with Local(workers, tmp_path, retries=2) as engine, pytest.raises(IncompleteError) as failed:
        engine.run(units(tmp_path, error), "u")
    (failure,) = failed.value.failures
    assert failure.name == "u1"
    assert failure.reason.endswith(f"; traceback in {tmp_path / LOG}")
    assert tries(tmp_path / "1") == 1
    if workers == 1:
        assert tries(tmp_path / "2") == 0
    log = (tmp_path / LOG).read_text()
    assert "u1\n" in log
    assert "in fail\n    raise error" in log
    assert type(error).__name__ in log


def die_once(done: Path) -> None:
    count = tries(done) + 1
    done.with_suffix(".tries").write_text(str(count))
    if count == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    write_text(done, "")


def always_die(done: Path) -> None:
    done.with_suffix(".tries").write_text(str(tries(done) + 1))
    os.kill(os.getpid(), signal.SIGKILL)


def jobs(work: Callable[[Path], None], root: Path) -> list[Unit]:
    return [Unit(f"u{i}", work, (root / f"{i}",), root / f"{i}") for i in range(2)]


@pytest.mark.usefixtures("forked_workers")
def test_the_work_of_a_killed_worker_is_done_again(tmp_path: Path) -> None:
    units = jobs(die_once, tmp_path)
    with Local(2, tmp_path, retries=2) as engine:
        engine.run(units, "u")
    assert all(job.done.exists() for job in units)


@pytest.mark.usefixtures("forked_workers")
def test_work_that_always_kills_its_worker_ends_after_its_retries(tmp_path: Path) -> None:
    died = pytest.raises(UserError, match="a worker process was killed, perhaps for lack of memory")
    with Local(2, tmp_path, retries=2) as engine, died:
        engine.run(jobs(always_die, tmp_path), "u")
    assert 3 <= sum(tries(tmp_path / f"{i}") for i in range(2)) <= 6  # three rounds; one death may prevent another
