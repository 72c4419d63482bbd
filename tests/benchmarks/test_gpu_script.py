"""The GPU measurement in its small form, on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from gpu.measure import attempt, write

SCRIPT = Path(__file__).parents[2] / "benchmarks/gpu/run.sh"
VALUES = {
    "digits": ["all, s", "accuracy at 2 IPC, %"],
    "sampling": ["guided step of 2 images, ms", "guided step of 2 images, planned memory, GiB", "IGD's loop, float32"],
    "training": ["autocast, step of 4, ms", "packed, step of 4, ms", "packed, share of peak, %"],
    "evaluation": ["float32, images/s"],
    "ray": ["alone, s", "together, s"],
    "compile": ["forward, compile on, ms", "forward and backward, compile off, ms"],
}


def check(out: Path, parts: list[str]) -> None:
    """Check that the table and the JSON have a positive number for every quantity."""
    found: dict[str, dict[str, Any]] = json.loads((out / "gpu.json").read_text())["parts"]
    assert list(found) == parts
    table = (out / "gpu.md").read_text()
    for part in parts:
        for quantity in VALUES.get(part, ()):
            (value,) = (value for name, value in found[part].items() if name.startswith(quantity))
            assert value > 0
            assert f"| {part} | {quantity}" in table


def run(out: Path, part: str) -> None:
    """Run a part by the script."""
    environment = {**os.environ, "OUT": str(out), "PYTHON": sys.executable, "CUDA_VISIBLE_DEVICES": ""}
    command = [str(SCRIPT), "--small", "--parts", part]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    check(out, ["machine", part])


def test_small_form(tmp_path: Path) -> None:
    run(tmp_path, "training")


@pytest.mark.parametrize("part", ["digits", "sampling", "evaluation", "compile"])
def test_small_form_of_the_other_parts(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, which has imported the libraries."""
    from gpu import gpu_parts  # here: the processes that other tests start import this file

    monkeypatch.setattr(gpu_parts, "device", lambda: "cpu")
    (tmp_path / "work").mkdir()
    write(tmp_path, {part: getattr(gpu_parts, part)(True, tmp_path / "work")}, small=True)
    check(tmp_path, [part])


@pytest.mark.slow
def test_small_form_on_ray(tmp_path: Path) -> None:
    run(tmp_path, "ray")


def succeeds(small: bool, folder: Path) -> dict[str, Any]:
    assert not list(folder.iterdir())
    return {"small": small}


def fails(small: bool, folder: Path) -> dict[str, Any]:
    raise RuntimeError("no\nluck | at all")


def dies(small: bool, folder: Path) -> dict[str, Any]:
    os._exit(3)


def sleeps(small: bool, folder: Path) -> dict[str, Any]:
    child = subprocess.Popen(["sleep", "600"])
    (folder.parents[1] / "child").write_text(str(child.pid))
    time.sleep(600)
    return {}


def test_a_part_that_fails_or_takes_too_long_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpu.measure.LIBRARIES", [])
    results = {
        name: attempt(f"{__name__}:{name}", small=True, limit=limit)
        for name, limit in (("succeeds", 300), ("fails", 300), ("dies", 300))
    }
    assert results["succeeds"].pop("seconds") > 0
    assert results["succeeds"] == {"small": True}
    assert attempt(f"{__name__}:succeeds", small=False, limit=300)["small"] is False  # a process started anew
    assert results["fails"]["error"] == "RuntimeError: no luck | at all"
    assert results["dies"]["error"] == "the process ended with exit code 3"
    write(tmp_path, results, small=True)
    assert "| fails | error | RuntimeError: no luck \\| at all |" in (tmp_path / "gpu.md").read_text()


def test_a_part_and_its_processes_end_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpu.measure.LIBRARIES", [])
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for limit in (4, 20, 80, 320):  # a busy machine takes a while to start the process
        found = attempt(f"{__name__}:sleeps", small=True, limit=limit)
        assert found["error"] == f"stopped after its limit of {limit} s"
        if (tmp_path / "child").exists():
            break
    state = Path("/proc", (tmp_path / "child").read_text(), "stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"
