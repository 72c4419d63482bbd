"""`lgd status` and events.jsonl on finished, half-finished and foreign directories."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lgd.cli.main import main
from lgd.errors import UserError
from lgd.experiments.status import Phase, duration, run_phases, run_status, status, time_left
from lgd.progress import progress_bar, show_messages
from lgd.report.events import phase, read_events, record
from lgd.storage.locks import locked


def test_a_run_records_its_phases(finished: Path) -> None:
    events = read_events(finished)
    told = [(e["event"], e["phase"]) for e in events]
    expected = ["reference", "judge", "generator", "stages", "evaluation"]
    assert told == [(event, name) for name in expected for event in ("started", "finished")]
    times = [e["time"] for e in events]
    assert times == sorted(times)
    assert all(e["seconds"] >= 0 for e in events if e["event"] == "finished")


def test_a_failed_phase_is_recorded(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), phase(tmp_path, "stages"):
        _ = 1 / 0
    assert [e["event"] for e in read_events(tmp_path)] == ["started", "stopped"]
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('{"time": 1, "ev')  # a process killed while writing
    assert len(read_events(tmp_path)) == 2


def test_status_of_a_finished_run(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(finished)]) == 0
    text = capsys.readouterr().out
    assert "finished" in text
    phases = run_phases(finished)
    assert [one.name for one in phases[:3]] == ["reference", "judge", "generator"]
    assert text.count("done") == len(phases)


def test_status_of_an_unfinished_run(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    for path in (run / "metrics.json", run / "increments" / "03" / "done", *run.glob("increments/03/groups/0001.*")):
        path.unlink()
    shutil.rmtree(run / "evaluation")
    text = run_status(run)
    assert "not running; next: increment 3, class groups" in text
    assert "1 of 2" in text
    assert "0 of 9" in text  # three increments, two seeds and one of redundancy
    with locked(run):
        assert ": running; " in run_status(run)


def test_time_left_follows_the_pace(tmp_path: Path) -> None:
    record(tmp_path, "started", phase="stages")
    start = read_events(tmp_path)[0]["time"]
    files = []
    for i in range(4):
        files.append(tmp_path / f"{i}.json")
        files[-1].write_text("")
        os.utime(files[-1], (start + 10 * (i + 1),) * 2)
    stages = Phase("increment 1", 4, 10, "stages", tuple(files))
    assert time_left(tmp_path, [stages]) == "about 60 s left"
    later = Phase("evaluation", 0, 5, "evaluation")
    assert time_left(tmp_path, [stages, later]) == "more than 60 s left"
    assert time_left(tmp_path, [later]) == "time left not known yet"


def test_status_of_a_compare_directory(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "lgd-seed0")
    shutil.copy(finished / "config.json", tmp_path / "config.json")
    shutil.copytree(finished, tmp_path / "lgd-seed1")
    (tmp_path / "lgd-seed1" / "metrics.json").unlink()
    shutil.rmtree(tmp_path / "lgd-seed1" / "evaluation")
    head, line, hint = status(tmp_path).splitlines()
    assert head == f"{tmp_path}: 1 of 2 runs finished, not compared yet"
    assert line.startswith("  lgd  1 of 2 runs finished, ")
    assert "images per class; lgd-seed1: not running; next: evaluation" in line
    assert hint == "lgd status RUN shows the parts of one run."


def test_status_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither a run"):
        status(tmp_path)


def test_status_is_light(finished: Path) -> None:
    code = (
        f"from lgd.cli.main import main; main(['status', {str(finished)!r}])\nimport sys; print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.endswith("False\n")


def test_durations() -> None:
    assert [duration(s) for s in (0.2, 45, 200, 7800)] == ["1 s", "45 s", "3 min", "2 h 10 min"]


def test_plain_lines_and_quiet(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lgd.progress.PLAIN_EVERY", 0.0)
    for quiet in (True, False):
        show_messages(quiet)
        with progress_bar(3, "work") as advance:
            for _ in range(3):
                advance("loss 1")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("work: 1 of 3, about ")
    assert lines[0].endswith("s left (loss 1)")
    assert len(lines) == 3
    assert json.dumps(lines).count("\\r") == 0
