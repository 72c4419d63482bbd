"""A clock that jumps: no result of a run depends on it, and reported times stay plausible."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from pathlib import Path

import pytest
from tests.execution.test_kill import digests

from lgd.config import Config
from lgd.experiments.distill import distill
from lgd.experiments.status import status

YEARS = 365 * 24 * 3600.0


def test_a_clock_that_jumps_by_years_between_any_two_looks(
    tiny: Config, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, draw = time.time(), random.Random(0)
    monkeypatch.setattr(time, "time", lambda: now + draw.uniform(-30, 30) * YEARS)
    out = tmp_path / "run"
    distill(tiny, out)
    assert digests(out) == digests(finished)
    assert all(seconds >= 0 for seconds in json.loads((out / "seconds.json").read_text()).values())


@pytest.mark.parametrize("years", [-40, 40])
def test_files_from_another_time_are_finished_all_the_same(
    years: int, tiny: Config, finished: Path, tmp_path: Path
) -> None:
    """The clock jumped while a run was interrupted: its files are from the past or the future."""
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    for lost in ("increments/03", "dataset", "evaluation"):
        shutil.rmtree(out / lost)
    (out / "metrics.json").unlink()
    then = {}
    for path in out.rglob("*"):
        os.utime(path, (time.time() + years * YEARS,) * 2)
        if path.is_file() and "increments" in path.parts:
            then[path] = path.stat().st_mtime_ns
    told = status(out)
    assert "next: increment 3, class groups" in told
    assert "-" not in told.split("next:")[1].splitlines()[0]
    distill(tiny, out)
    assert digests(out) == digests(finished)
    assert {path: path.stat().st_mtime_ns for path in then} == then
