"""The comparison on a GPU, on the CPU: its tasks make what `lgd distill` makes, and end in time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import compare
import pytest
from processes import Task, log_of, perform
from tests.kills import alive

from lgd.config import load_config, with_values
from lgd.experiments.compare import compare_methods
from lgd.storage.files import read_json


def in_order(tasks: list[Task], processes: int, over: Callable[[], bool], logs: Path) -> dict[str, str]:
    """Run the tasks one after another in this process, and check what they promise."""
    for task in tasks:
        assert all(path.exists() for path in task.needs), task
        assert not task.done.exists(), task
        task.function(*task.arguments)
        assert task.done.exists(), task
    return {task.name: "done" for task in tasks}


def test_the_tasks_make_what_lgd_distill_makes(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "perform", in_order)
    source, generator = str(finished / "config.json"), str(finished / "generator")
    arguments = [source, "--out", str(tmp_path), "--methods", "random", "lgd", "--seconds", "1"]
    arguments += ["--variant", "wide", "herding", "real.pool=40"]
    arguments += ["--variant", "covered", "dit", "stages.coverage=herding", "stages.candidates=2"]
    assert compare.main([*arguments, "--set", f"generator.source={generator}"]) == 0
    runs = ["random-seed0", "lgd-seed0", "wide herding-seed0", "covered dit-seed0"]
    assert list(read_json(tmp_path / "tasks.json"))[-8:] == [f"{run} accuracy" for run in runs] + runs
    assert load_config(str(tmp_path / "wide" / "herding-seed0" / "config.json")).real.pool == 40
    made, wanted = read_json(tmp_path / "lgd-seed0" / "metrics.json"), read_json(finished / "metrics.json")
    assert {**made, "seconds": None} == {**wanted, "seconds": None}
    cells = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/evaluation/*.json")}
    config = with_values(load_config(source), {"generator.source": generator})
    assert set(compare_methods(config, ["random", "lgd"], tmp_path, 1)[0]["methods"]) == {"random", "lgd"}
    assert cells == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/evaluation/*.json")}


def test_a_variant_without_methods_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        compare.main(["digits", "--out", str(tmp_path), "--seconds", "1", "--variant", "alone"])
    assert "--variant needs a name and methods" in capsys.readouterr().err


def test_tasks_wait_for_what_they_need_and_end_in_time(tmp_path: Path) -> None:
    there, first, second, last = (tmp_path / name for name in ("there", "first", "second", "last"))
    there.touch()
    tasks = [
        Task("before", print, ([there],), there),
        Task("second", Path.touch, (second,), second, (first,)),
        Task("first", Path.touch, (first,), first),
        Task("wrong", Path.touch, (tmp_path / "no" / "file",), tmp_path / "no"),
        Task("slow", time.sleep, (1000.0,), last, (second,)),
        Task("never", Path.touch, (last,), last, (last,)),
    ]
    ended = perform(tasks, 2, lambda: "slow" in running(tmp_path), tmp_path / "logs")
    assert ended["before"] == "there"
    assert ended["first"].startswith("done in")
    assert ended["second"].startswith("done in")
    assert ended["wrong"].startswith("FAILED")
    assert ended["slow"] == "stopped"
    assert ended["never"] == "not begun"
    assert not last.exists()
    assert "FileNotFoundError" in log_of(tmp_path / "logs", "wrong").read_text()


def test_workers_end_with_a_killed_command(tmp_path: Path) -> None:
    """A worker in the midst of a task does not outlive the process that started it."""
    command = multiprocessing.get_context("spawn").Process(target=perform_forever, args=(tmp_path,))
    command.start()
    until = time.monotonic() + 60
    while not (tmp_path / "worker").exists() and time.monotonic() < until:
        time.sleep(0.05)
    worker = int((tmp_path / "worker").read_text())
    assert command.pid is not None
    os.kill(command.pid, signal.SIGKILL)
    command.join()
    while alive(worker) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(worker)


def perform_forever(folder: Path) -> None:
    perform([Task("slow", sleep_after_telling, (folder,), folder / "no")], 1, lambda: False, folder / "logs")


def sleep_after_telling(folder: Path) -> None:
    (folder / "telling").write_text(str(os.getpid()))
    (folder / "telling").replace(folder / "worker")
    time.sleep(120)


def running(folder: Path) -> set[str]:
    return {path.stem for path in (folder / "logs").glob("*.log")}
