"""Sweeps: parsing, shared assets, and the files written."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from lgd import load
from lgd.cli.main import main
from lgd.config import Config, with_values
from lgd.errors import UserError
from lgd.experiments.ablate import ablate, parse_axis
from lgd.experiments.status import status
from lgd.report.finished_runs import read_runs


def test_values_as_json_or_text() -> None:
    assert parse_axis("guidance.omega=0,0.5,1") == ("guidance.omega", [0, 0.5, 1])
    assert parse_axis("guidance.window=[10,45],[0,30]") == ("guidance.window", [[10, 45], [0, 30]])
    assert parse_axis("sampling.scheduler=ddpm,dpm++") == ("sampling.scheduler", ["ddpm", "dpm++"])
    assert parse_axis("evaluation.classifier.training.flip=true") == ("evaluation.classifier.training.flip", [True])


@pytest.mark.parametrize(
    ("over", "message"),
    [
        (["guidance.omega"], "write FIELD=VALUE,VALUE"),
        (["guidance.omega=1,1"], "a value comes twice"),
        (["guidance.omga=1"], "no field 'omga'; did you mean 'omega'"),
        (["guidance.omega=high"], r"guidance\.omega: .*not 'high'"),
        (["evaluation.classifier.architecture=convnet,resnet19"], "unknown architecture 'resnet19'"),
        (["guidance.omega=1", "guidance.omega=0"], "no field twice"),
        ([], "at least one"),
    ],
)
def test_mistakes_are_told_before_anything_is_made(tiny: Config, tmp_path: Path, over: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ablate(tiny, over, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ("stages.anchor=none,herding", r"stages\.anchor: method 'lgd-anchored' sets this field"),
        ("stages.anchor_step=1,99", r"stages\.anchor_step: 99 does not lie inside"),  # may be swept
    ],
)
def test_of_the_fields_of_a_method_the_open_ones_may_be_swept(
    tiny: Config, tmp_path: Path, over: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        ablate(with_values(tiny, {"method": "lgd-anchored"}), [over], tmp_path / "out")


def test_a_sweep_reuses_its_cells_in_another(tiny: Config, tmp_path: Path) -> None:
    base = with_values(
        tiny, {"method": "random", "stages.increments": 1, "evaluation.seeds": 1, "evaluation.redundancy_seeds": 0}
    )
    out = tmp_path / "out"
    over = ["stages.images_per_increment=1,2", "evaluation.epochs_factor=0.5,1"]
    result, text = ablate(base, over, out, runs=1)
    assert [cell["values"] for cell in result["cells"]] == [
        {"stages.images_per_increment": n, "evaluation.epochs_factor": f} for n in (1, 2) for f in (0.5, 1)
    ]
    assert text.splitlines()[0].split(" | ")[0].startswith("| stages.images_per_increment")
    assert len(text.splitlines()) == 2 + 4 + 2  # an empty line and the caption
    assert len(list((out / "assets").iterdir())) == 1
    assets = {p: p.stat().st_mtime_ns for p in out.glob("assets/*/*.safetensors")}
    cells = {p: p.stat().st_mtime_ns for p in out.glob("cells/*/*/evaluation/*.json")}
    assert len(cells) == 4
    again, _ = ablate(base, ["evaluation.epochs_factor=1,2"], out, runs=1)
    assert again["cells"][0]["folder"] == result["cells"][3]["folder"]
    assert {p: p.stat().st_mtime_ns for p in cells} == cells
    assert {p: p.stat().st_mtime_ns for p in assets} == assets
    assert assets
    assert len(list(out.glob("cells/*"))) == 5
    rows = list(csv.DictReader((out / "ablation.csv").read_text().splitlines()))
    assert [(row["evaluation.epochs_factor"], row["ipc"]) for row in rows] == [("1", "2"), ("2", "2")]
    assert json.loads((out / "ablation.json").read_text())["cells"] == again["cells"]
    assert r"\begin{tabular}" in (out / "ablation.tex").read_text()
    assert "| evaluation.epochs_factor " in (out / "ablation.md").read_text()
    told = status(out).splitlines()
    assert told[0] == f"{out}: 5 of 5 combinations finished"
    assert told[1].split("  ")[1] == "stages.images_per_increment=1, evaluation.epochs_factor=0.5"
    assert "1 of 1 runs finished, " in told[1]
    assert len(told) == 1 + 5 + 1
    runs, _ = read_runs([out])
    assert [run.method for run in runs][:4] == [line.strip().split("  ")[0] for line in told[1:5]]
    with pytest.raises(UserError, match=r"holds 5 runs; load one of them, such as cells/\w+/random-seed0 in it"):
        load(out)


def test_another_reference_has_its_own_assets(tiny: Config, tmp_path: Path) -> None:
    base = with_values(
        tiny, {"method": "random", "stages.increments": 1, "evaluation.seeds": 1, "evaluation.redundancy_seeds": 0}
    )
    ablate(base, ["reference.training.epochs=1,2"], tmp_path / "out", runs=1)
    assert len(list((tmp_path / "out" / "assets").iterdir())) == 2


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The short spelling of the epochs' factor is the field's; a wrong axis is one line and code 2."""
    out = str(tmp_path / "out")
    assert main(["ablate", "digits", "--over", "guidance.omga=1", "--epochs-factor", "0.5", "--out", out]) == 2
    assert "no field 'omga'" in capsys.readouterr().err
    assert main(["compare", "digits", "--methods", "random", "--epochs-factor=0", "--out", out]) == 2
    assert "evaluation.epochs_factor: input should be greater than 0" in capsys.readouterr().err
