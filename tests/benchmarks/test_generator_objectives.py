"""Objectives are compared at equal processor time, and a second call goes on."""

from __future__ import annotations

from pathlib import Path

import generator_objectives
import pytest
from tests.cli.test_main import toml

from lgd.config import Config
from lgd.storage.files import read_json


def test_a_row_for_every_objective(
    tiny: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    toml(tiny, tmp_path / "tiny.toml")
    monkeypatch.setattr(generator_objectives, "SCALES", (1.5,))
    command = [str(tmp_path / "tiny.toml"), str(tmp_path / "out"), "--minutes", "0.003", "--per-class", "2"]
    command += ["--objectives", "x0-absolute-snr1", "flow", "x0-aligned"]
    generator_objectives.main(command)
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows[1:]] == ["| x0-absolute-snr1", "| flow", "| x0-aligned"]
    told = read_json(tmp_path / "out/flow-0.001/steps.json")
    assert told["steps"] > 0
    assert told["generator"]["prediction"] == "flow_prediction"
    before = (tmp_path / "out/flow-0.001/steps.json").stat().st_mtime_ns
    generator_objectives.main(command)
    assert (tmp_path / "out/flow-0.001/steps.json").stat().st_mtime_ns == before
    again = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert again == rows
