"""CONTRIBUTING.md: its table of rooms, and its worked examples, which a tiny run of digits executes as they stand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import fmean

import pytest
from tests.cli.test_main import toml
from tests.test_import_order import ROOMS
from tests.worked_examples import worked_example

from lgd.cli.main import main
from lgd.config import Config, with_values
from lgd.distillation.layout import Run
from lgd.distillation.methods import METHODS, Method
from lgd.distillation.store import read_manifest

PAGE = "../CONTRIBUTING.md"
TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()


def test_the_table_lists_the_rooms_in_their_order() -> None:
    table = TEXT.split("| room | content |")[1].split("\n\n")[0]
    rows = [re.findall(r"`(\w+)`", line.split("|")[1]) for line in table.splitlines() if line.startswith("| `")]
    assert rows == [room for room in ROOMS if not room[0].startswith("__")]


def test_the_documented_guidance_method(
    tiny: Config, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The method runs by its name, is compared and planned, and climbs the reference's probability of the label."""
    (name,) = (example := worked_example(PAGE, "Add a guidance method", {"Method": Method}))
    monkeypatch.setitem(METHODS, name, example[name])
    preset = toml(with_values(tiny, {"guidance.strength": 2.0, "stages.increments": 1}), tmp_path / "tiny.toml")
    out = tmp_path / "out"
    assert main(["compare", str(preset), "--methods", "dit", name, "--runs", "1", "--out", str(out), "--quiet"]) == 0
    assert f"| {name} |" in capsys.readouterr().out
    guided, unguided = (
        fmean(row.candidates[0].reference_loss or 0.0 for row in read_manifest(Run(out / run).increment(1)))
        for run in (f"{name}-seed0", "dit-seed0")
    )
    assert guided < unguided - 0.05
    assert main(["plan", str(preset), "--method", name, "--count", "--quiet", "--json", str(tmp_path / "p.json")]) == 0
    assert "images" in {phase["name"] for phase in json.loads((tmp_path / "p.json").read_text())["phases"]}
