"""The comparison on a GPU, on the CPU: its tasks make what `lgd compare` makes, and end in time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from gpu import compare

from lgd.config import load_config, with_values
from lgd.experiments.compare import compare_methods


def in_order(tasks: list[compare.Task], processes: int, over: Callable[[], bool], logs: Path) -> dict[str, str]:
    """Run the tasks one after another in this process, and check what they promise."""
    for task in tasks:
        assert all(path.exists() for path in task.needs), task
        assert not task.done.exists(), task
        task.function(*task.arguments)
        assert task.done.exists(), task
    return {task.name: "done" for task in tasks}


def test_the_tasks_make_what_lgd_compare_makes(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "perform", in_order)
    settings = {"generator.source": str(finished / "generator"), "stages.increments": 2}
    words = [f"{name}={value}" for name, value in settings.items()]
    methods, out = ["random", "lgd"], tmp_path / "tasks"
    source = str(finished / "config.json")
    arguments = [source, "--out", str(out), "--methods", *methods, "--seconds", "1", "--set", *words]
    assert compare.main(arguments) == 0
    assert json.loads((out / "tasks.json").read_text())["lgd-seed0"] == "done"
    made = {path: path.stat().st_mtime_ns for path in out.glob("*/evaluation/*.json")}
    assert made
    config = with_values(load_config(source), settings)
    kept, _ = compare_methods(config, methods, out, 1)
    assert made == {path: path.stat().st_mtime_ns for path in out.glob("*/evaluation/*.json")}
    fresh, _ = compare_methods(config, methods, tmp_path / "compare", 1)
    for name in methods:
        for part in ("increments", "redundancy", "validity"):
            assert kept["methods"][name].get(part) == fresh["methods"][name].get(part), (name, part)


def write(path: Path, seconds: float) -> None:
    time.sleep(seconds)
    path.write_text("done")


def test_tasks_wait_for_what_they_need_and_end_in_time(tmp_path: Path) -> None:
    there, first, second, last = (tmp_path / name for name in ("there", "first", "second", "last"))
    there.touch()
    tasks = [
        compare.Task("before", write, (there, 0.0), there),
        compare.Task("second", write, (second, 0.0), second, (first,)),
        compare.Task("first", write, (first, 0.0), first),
        compare.Task("wrong", write, (tmp_path / "no" / "folder", 0.0), tmp_path / "no"),
        compare.Task("slow", write, (last, 1000.0), last, (second,)),
        compare.Task("never", write, (last, 0.0), last, (last,)),
    ]
    ended = compare.perform(tasks, 2, lambda: "slow" in running(tmp_path), tmp_path / "logs")
    assert ended["before"] == "there"
    assert ended["first"].startswith("done in")
    assert ended["second"].startswith("done in")
    assert ended["wrong"].startswith("FAILED")
    assert ended["slow"] == "stopped"
    assert ended["never"] == "not begun"
    assert not last.exists()
    assert "FileNotFoundError" in (tmp_path / "logs" / "wrong.log").read_text()


def running(folder: Path) -> set[str]:
    return {path.stem for path in (folder / "logs").glob("*.log")}
