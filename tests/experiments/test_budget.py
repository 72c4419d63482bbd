"""The budget of minutes: numbers that fit, augmentation by validation, and numbers that are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lgd.cli.main import main
from lgd.config import Config, with_values
from lgd.data.imageset import ImageSet
from lgd.errors import UserError
from lgd.experiments import budget
from lgd.experiments.auto import load_config
from lgd.experiments.budget import FILE, LEVELS, augmentation, first, no_worse, numbers_for, within_budget
from lgd.experiments.resolve import Experiment, resolve
from lgd.profiling.sizes import Sizes
from lgd.profiling.speed import FORWARD_SHARE, Speed, phases_at, seconds_of
from lgd.profiling.workloads import Workload
from lgd.storage.files import read_json

SPEED = Speed(0.05, 1, 0.001, 0.003, "float32", 0.0005, 0.001)
SIZES = Sizes(3, 90, 30, (1, 8, 8), loaded=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, draw = tmp_path_factory.mktemp("budget"), np.random.default_rng(0)
    for name, ground in (("dark", 60), ("light", 200)):
        (root / name).mkdir()
        for k in range(16):
            Image.fromarray(draw.integers(ground - 40, ground + 40, (8, 8), dtype=np.uint8)).save(
                root / name / f"{k}.png"
            )
    return root


def test_phases_count_the_work_of_a_run(tiny: Config) -> None:
    """Against loops over increments, cells and steps."""
    config = with_values(tiny, {"compute.workers": 1, "evaluation.evaluations": 2})
    found = phases_at(config, SIZES, SPEED, "cpu")
    own, stages = config.evaluation, config.stages
    each = 3 * stages.images_per_increment
    learned = sum((i - 1) * each for i in range(2, stages.increments + 1))
    accuracy = sum(i * each for i in range(1, stages.increments + 1)) * own.seeds
    redundancy = stages.increments * each * own.redundancy_seeds
    tests = stages.increments * own.seeds * own.evaluations * 30 * FORWARD_SHARE
    guided = config.guidance.window[1] - config.guidance.window[0] + 1
    steps = config.sampling.steps
    later = (stages.increments - 1) * each * stages.candidates
    epochs = own.classifier.training.epochs
    expected = {
        "generator": config.generator.steps * 0.05,
        "reference": config.reference.training.epochs * 90 * 0.001,
        "judge": config.judge.training.epochs * 90 * 0.003,
        "learners": config.learner.training.epochs * learned * 0.001 * stages.learners,
        "images": each * steps * 0.0005 + later * ((steps - guided) * 0.0005 + guided * 0.001),
        "evaluation": ((accuracy + redundancy) * epochs + tests) * 0.001,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize("factor", [0.1, 1.0, 10.0])
def test_numbers_fit_and_grow_with_the_budget(tiny: Config, factor: float) -> None:
    config = replace(tiny, compute=replace(tiny.compute, workers=2))
    speed = Speed(0.05 * factor, 1, 0.0004 * factor, 0.001 * factor, "float32", 0.0002 * factor, 0.0004 * factor)

    def phases(values: dict[str, Any]) -> dict[str, float]:
        return phases_at(with_values(config, values), SIZES, speed, "cpu")

    before = 0
    for left in (60.0, 120.0, 300.0, 600.0, 1200.0):
        values = numbers_for(left, phases, config)
        assert sum(phases(values).values()) <= left or values["generator.steps"] == 100
        assert values["generator.steps"] == budget.MOST_STEPS or sum(phases(values).values()) > 0.97 * left
        assert values["generator.steps"] >= before
        assert values["evaluation.seeds"] in {seeds for _, seeds, _, _ in LEVELS}
        before = values["generator.steps"]
    real = with_values(config, {"method": "lgd-real"})
    alone = numbers_for(120.0, lambda values: phases_at(with_values(real, values), SIZES, speed, "cpu"), real)
    assert "generator.steps" not in alone
    assert alone["reference.training.epochs"] >= values["reference.training.epochs"] * 0.1


def test_flips_are_kept_unless_they_mix_up_classes(tiny: Config) -> None:
    draw = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 60, (160, 1, 8, 8), dtype=torch.uint8, generator=draw)
    labels = torch.arange(160) % 2
    sided, plain = noise.clone(), noise.clone()
    sided[labels == 0, :, :, :4] += 150  # a flip turns one class into the other
    sided[labels == 1, :, :, 4:] += 150
    plain[labels == 1] += 150
    for images, flips in ((sided, False), (plain, True)):
        chosen = augmentation(ImageSet(images, labels, ("a", "b")), tiny, 3 * 128 * 8.0, "cpu")
        assert chosen.flips == flips
        assert chosen.accuracy > 0.7


def test_an_accuracy_within_its_standard_error_is_no_worse() -> None:
    assert no_worse(0.46, 0.5, 100)
    assert not no_worse(0.44, 0.5, 100)
    images = ImageSet(torch.arange(10).view(10, 1, 1, 1).to(torch.uint8), torch.arange(10), tuple("0123456789"))
    assert first(images, 3).labels.tolist() == [0, 3, 6]


def test_a_trial_gives_seconds_per_item() -> None:
    calls: list[int] = []
    work = Workload(4, lambda: (lambda: calls.append(1), []), bfloat16=False, key=())
    assert 0 < seconds_of(work) < 0.01
    assert 3 <= len(calls) <= 10


def test_numbers_are_kept_and_fields_of_the_user_stay(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(load_config(f"folder:{folder}"), minutes=3.0)
    config = with_values(config, {"evaluation.seeds": 7})
    monkeypatch.setattr(budget, "measure_speed", lambda *_: SPEED)
    base = resolve(config)
    fitted = within_budget(base, tmp_path).config
    record = read_json(tmp_path / FILE)
    assert record["minutes"] == 3
    assert sum(record["expected_seconds"].values()) < 180
    assert fitted.generator.steps == record["settings"]["generator.steps"]
    assert (fitted.evaluation.seeds, fitted.minutes) == (7, 0)
    monkeypatch.setattr(budget, "measure_speed", lambda *_: replace(SPEED, generator=5.0))
    assert within_budget(base, tmp_path).config == fitted
    assert within_budget(base, None).config.generator.steps < fitted.generator.steps
    with pytest.raises(UserError, match="was begun with --minutes 3, not 4; choose another --out"):
        within_budget(replace(base, config=replace(config, minutes=4.0)), tmp_path)


def test_a_poor_short_validation_proposes_real_images(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(budget, "measure_speed", lambda *_: SPEED)
    monkeypatch.setattr(budget, "augmentation", lambda *_: budget.Augmentation(True, False, 0.3))
    base = load_config(f"folder:{folder}")
    for values, told in (({}, False), ({"synthetic": True}, True)):
        caplog.clear()
        auto = resolve(with_values(base, {"minutes": 3.0, "method": "auto", **values}))
        assert ("generator.steps" in read_settings(auto)) == told
        assert ("--method auto chooses real images" in caplog.text) == told


def read_settings(base: Experiment) -> set[str]:
    """Return the fields that the budget of an experiment decides."""
    return set(budget.fit(base.config, base.splits, base.device, 1)["settings"])


def test_a_run_goes_on_with_its_numbers(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [
        "--generator.steps",
        "4",
        "--reference.training.epochs",
        "1",
        "--judge.training.epochs",
        "1",
        "--evaluation.seeds",
        "1",
    ]
    small += [
        "--learner.training.epochs",
        "2",
        "--evaluation.classifier.training.epochs",
        "2",
        "--stages.increments",
        "2",
    ]
    command = ["distill", f"folder:{folder}", "--out", str(tmp_path / "run"), "--minutes", "1", *small]
    command += ["--compute.workers", "1", "--sampling.steps", "6", "--guidance.window", "1", "4"]
    monkeypatch.setattr(budget, "measure_speed", lambda *_: replace(SPEED, classifier=0.02))
    assert main(command) == 0
    assert "budget 1 minutes," in capsys.readouterr().err
    written = read_json(tmp_path / "run" / "config.json")
    assert written["generator"]["steps"] == 4
    assert written["minutes"] == 0
    monkeypatch.setattr(budget, "measure_speed", None)
    assert main([*command, "--quiet"]) == 0
    assert main([*command, "--quiet", "--minutes", "2"]) == 2
    assert "was begun with --minutes 1, not 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["distill", "digits", "--minutes", "5"], "minutes: the settings of digits are given"),
        (["distill", "digits", "--minutes", "-1"], "minutes: input should be greater than or equal to 0"),
        (["generator", "train", "digits", "--minutes", "5"], "minutes: the settings of digits are given"),
    ],
)
def test_mistakes(arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lgd: ")]
    assert len(told) == 1
    assert message in told[0]
