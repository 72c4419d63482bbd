"""The method `auto`: of real images by their number, of generated ones by what the judge recognises."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from lgd.cli.main import main
from lgd.config import Config, with_values
from lgd.distillation.layout import Run
from lgd.distillation.store import read_manifest
from lgd.errors import UserError
from lgd.experiments import auto_method
from lgd.experiments.auto_method import SYNTHETIC, choose_synthetic, settled
from lgd.experiments.distill import distill
from lgd.experiments.resolve import resolve
from lgd.storage.files import read_json


@pytest.mark.parametrize(("increments", "name"), [(5, "herding"), (6, "lgd-real-easiest")])
def test_real_images_are_chosen_by_their_number(increments: int, name: str, caplog: pytest.LogCaptureFixture) -> None:
    config = with_values(Config(), {"method": "auto", "stages.increments": increments})
    with caplog.at_level(logging.INFO, "lgd"):
        assert settled(config).method == name
    assert f"method auto: {name}, real images, because at {2 * increments} per class" in caplog.text
    assert settled(with_values(config, {"synthetic": True})).method == "auto"
    assert settled(with_values(config, {"method": "dit"})).method == "dit"


@pytest.mark.parametrize(("least", "name"), [(-1.0, "lgd"), (9.0, "dit")])
def test_the_trained_generator_decides_about_generated_sets(
    least: float, name: str, finished: Path, tiny: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What the judge recognises is counted once more, and the choice is kept."""
    monkeypatch.setattr("lgd.distillation.seed_check.LEAST_RECOGNISED", least)
    monkeypatch.setattr(auto_method, "FILE", f"method-{name}.json")
    config = with_values(tiny, {"method": "auto", "synthetic": True})
    experiment = resolve(config)
    assets = experiment.assets(finished)
    try:
        chosen = choose_synthetic(config, assets, experiment.splits)
        record = read_json(finished / auto_method.FILE)
        assert choose_synthetic(config, assets, experiment.splits) == chosen
    finally:
        (finished / auto_method.FILE).unlink()
    assert chosen.method == name
    assert chosen.stages.coverage == ("none" if record["shows"] else "herding")
    assert record["shows"] == (record["recognised"] >= 10 + least * (record["real"] - 10))


def test_a_run_by_auto_is_a_run_by_the_chosen_method(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lgd.distillation.seed_check.LEAST_RECOGNISED", 9.0)
    small = {"stages.increments": 1, "evaluation.seeds": 1, "evaluation.redundancy_seeds": 0, "generator.steps": 2}
    config = with_values(tiny, {"method": "auto", "synthetic": True, **small})
    for _ in range(2):
        run = distill(config, tmp_path / "run")
    assert read_json(run.config)["method"] == SYNTHETIC[1]
    covered = read_manifest(Run(run.root).increment(1))
    assert all(len(row.candidates) == 2 for row in covered)
    assert (run.root / "independent").is_dir()


@pytest.mark.parametrize("name", ["herding", "lgd-real", "hybrid", "full"])
def test_a_synthetic_set_holds_no_real_image(name: str, tiny: Config) -> None:
    with pytest.raises(UserError, match=f"synthetic: a set by '{name}' holds real images; choose another method"):
        resolve(with_values(tiny, {"method": name, "synthetic": True}))
    if name == "herding":
        with pytest.raises(UserError, match="synthetic: a set by 'herding'"):
            resolve(with_values(tiny, {"synthetic": True, "stages.seed_method": name}))
        resolve(with_values(tiny, {"synthetic": True}))


def test_plan_and_help_know_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "digits", "--method", "auto", "--tflops", "1"]) == 0
    assert "generator" not in capsys.readouterr().out.split("| phase")[1]
    with pytest.raises(SystemExit):
        main(["distill", "digits", "--method", "auto", "--help-all"])
    assert "--real.candidates" in capsys.readouterr().out
