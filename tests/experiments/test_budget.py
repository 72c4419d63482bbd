"""The budget of minutes: numbers that fit, augmentation by validation, and numbers that are kept."""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lgd.cli.main import main
from lgd.config import Config, to_dict, with_values
from lgd.data.imageset import ImageSet
from lgd.errors import UserError
from lgd.experiments import budget, validation
from lgd.experiments.amounts import EVALUATIONS, LEAST_STEPS, MOST_STEPS, SHARES, amounts_for, seconds_of_pieces
from lgd.experiments.auto import load_config
from lgd.experiments.budget import FILE, Budget
from lgd.experiments.resolve import resolve
from lgd.experiments.validation import augmentation, first, no_worse
from lgd.profiling.sizes import Sizes
from lgd.profiling.speed import Speed, phases_at, seconds_of
from lgd.profiling.workloads import Workload
from lgd.storage.files import read_json, sha256, write_json

SPEED = Speed(0.05, 1, 0.001, 0.003, "float32", 0.0005, 0.001, 0.0004)
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
    tests = stages.increments * own.seeds * own.evaluations * 30 * 0.4
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


def pieces(config: Config, speed: Speed, methods: tuple[str, ...] = ("lgd",), runs: int = 1) -> Any:
    def seconds(values: dict[str, Any]) -> dict[str, float]:
        return seconds_of_pieces(with_values(config, values), methods, runs, SIZES, speed, "cpu")

    return seconds


def test_sets_share_the_networks(tiny: Config) -> None:
    """Against the phases of each method."""
    one, two = (phases_at(with_values(tiny, {"method": name}), SIZES, SPEED, "cpu") for name in ("lgd", "random"))
    found = pieces(tiny, SPEED, ("lgd", "random"), 3)({})
    assert {name: found[name] for name in ("reference", "judge", "generator")} == pytest.approx(
        {name: one[name] for name in ("reference", "judge", "generator")}
    )
    assert "generator" not in two
    stages = sum(part[name] for part in (one, two) for name in ("learners", "images"))
    assert found["stages"] == pytest.approx(3 * stages)
    assert found["evaluation"] == pytest.approx(3 * (one["evaluation"] + two["evaluation"]))
    assert pieces(tiny, SPEED, (), 1)({}) == {"generator": pytest.approx(one["generator"])}
    aligned = with_values(tiny, {"generator.align": 0.5})
    assert pieces(aligned, SPEED, (), 1)({}) == pytest.approx({name: one[name] for name in ("reference", "generator")})


@pytest.mark.parametrize("factor", [0.1, 1.0, 10.0])
def test_amounts_fit_and_grow_with_the_budget(tiny: Config, factor: float) -> None:
    config = replace(tiny, compute=replace(tiny.compute, workers=2))
    speed = Speed(
        0.05 * factor, 1, 0.0004 * factor, 0.001 * factor, "float32", 0.0002 * factor, 0.0004 * factor, 0.0002 * factor
    )
    seconds, before = pieces(config, speed), 0
    for left in (60.0, 300.0, 1200.0):
        values = amounts_for(left, seconds, config, SHARES)
        steps, whole = values["generator.steps"], sum(seconds(values).values())
        assert whole <= left or steps == LEAST_STEPS
        assert whole > 0.97 * left or steps == MOST_STEPS
        assert steps >= before
        assert values["evaluation.seeds"] in {seeds for _, (seeds, *_) in EVALUATIONS}
        before = steps
    real = pieces(config, speed, ("lgd-real",))
    alone = amounts_for(120.0, real, config, SHARES)
    assert "generator.steps" not in alone
    assert sum(real(alone).values()) <= 120


@pytest.mark.parametrize("slower", [1.0, 1.5, 3.0])
def test_a_busy_machine_gets_less_to_do(tiny: Config, slower: float) -> None:
    """A run on paper: from the judge on, all work takes `slower` times as long, and the budget holds."""
    now, spent, values = SPEED, 0.0, dict[str, Any]()
    order = list(SHARES)
    for index, piece in enumerate(order):
        if piece == "judge":
            names = ("generator", "classifier", "judge", "unguided", "guided", "classified")
            now = replace(SPEED, **{name: slower * getattr(SPEED, name) for name in names})
        base = with_values(tiny, values)
        chosen = amounts_for(300.0 - spent, pieces(base, now), tiny, order[index:])
        values |= chosen
        spent += pieces(with_values(tiny, values), now)({})[piece]
    assert spent == pytest.approx(300.0, rel=0.03)
    assert values["generator.steps"] > LEAST_STEPS


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


@pytest.fixture
def speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure and validate nothing: the speed is `SPEED`."""
    monkeypatch.setattr(budget, "measure_speed", lambda *_: SPEED)
    monkeypatch.setattr(budget, "augmentation", lambda *_: validation.Augmentation(True, False, 0.3))
    monkeypatch.setattr(budget, "measure_again", lambda speed, *_: speed)


@pytest.mark.usefixtures("speed")
def test_numbers_are_kept_and_fields_of_the_user_stay(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(load_config(f"folder:{folder}"), minutes=3.0)
    config = with_values(config, {"evaluation.seeds": 7})
    base = resolve(config)
    fitted = Budget(base, tmp_path).run().config
    record = read_json(tmp_path / FILE)
    assert (record["minutes"], record["settled"]) == (3, {})
    assert fitted.generator.steps == record["settings"]["generator.steps"]
    assert (fitted.evaluation.seeds, fitted.minutes) == (7, 0)
    assert "evaluation.seeds" not in record["settings"]
    monkeypatch.setattr(budget, "measure_speed", lambda *_: replace(SPEED, generator=5.0))
    assert Budget(base, tmp_path).run().config == fitted
    assert Budget(base, None).run().config.generator.steps < fitted.generator.steps
    with pytest.raises(UserError, match="was begun with --minutes 3, not 4; choose another --out"):
        Budget(replace(base, config=replace(config, minutes=4.0)), tmp_path)


@pytest.mark.usefixtures("speed")
def test_each_piece_is_settled_once_by_the_time_that_is_left(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(budget, "monotonic", lambda: clock[0])
    base = resolve(replace(load_config(f"folder:{folder}"), minutes=3.0))
    own = Budget(base, tmp_path)
    planned, claimed = own.run().config, own.run().record()
    write_json(tmp_path / "config.json", claimed)
    clock[0] += 30  # of 160
    settled = own.settle("reference").config
    assert settled.reference.training.epochs <= planned.reference.training.epochs
    clock[0] += 60
    own.settle("judge")
    step = 4 * SPEED.generator
    final = own.settle("generator", step).config
    assert final.generator.steps < planned.generator.steps / 4
    record = read_json(tmp_path / FILE)
    assert list(record["settled"]) == ["reference", "judge", "generator"]
    assert record["spent"] == 90
    assert read_json(tmp_path / "config.json") == to_dict(final)
    assert own.settle("generator", 100.0).config == final  # once
    # A command that goes on, also after a crash between the two files, has the same numbers and the time spent.
    write_json(tmp_path / "config.json", claimed)
    clock[0] = 5.0
    again = Budget(base, tmp_path)
    assert again.run().config == final
    assert read_json(tmp_path / "config.json") == to_dict(final)
    assert again.left() == pytest.approx(180 - budget.FINISHING - 90)
    assert again.settle("judge").config == final


@pytest.mark.usefixtures("speed")
def test_less_is_planned_than_there_is_time_for_in_the_end(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers of a plan made while the machine was slow do not bound those that are settled later."""
    asked = replace(load_config(f"folder:{folder}"), minutes=3.0)
    slow = replace(SPEED, classifier=50 * SPEED.classifier, classified=50 * SPEED.classified)
    monkeypatch.setattr(budget, "measure_speed", lambda *_: slow)
    own = Budget(resolve(asked), tmp_path)
    planned = own.run().config
    monkeypatch.setattr(budget, "measure_again", lambda *_: SPEED)
    own.settle("stages")
    final = own.settle("evaluation").config
    for config, field in ((asked.learner, "learner"), (asked.evaluation.classifier, "evaluation.classifier")):
        assert config.training.epochs > 2 * attrgetter(field)(planned).training.epochs
        assert config.training.epochs == attrgetter(field)(final).training.epochs
    assert (planned.evaluation.seeds, final.evaluation.seeds) == (1, 3)


@pytest.mark.usefixtures("speed")
def test_a_poor_short_validation_proposes_real_images(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    base = load_config(f"folder:{folder}")
    for values, told in (({}, False), ({"synthetic": True}, True)):
        caplog.clear()
        auto = resolve(with_values(base, {"minutes": 3.0, "method": "auto", **values}))
        assert ("generator.steps" in Budget(auto, None).record["settings"]) == told
        assert ("--method auto chooses real images" in caplog.text) == told


@pytest.mark.usefixtures("speed")
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
    assert main(command) == 0
    told = capsys.readouterr().err
    assert "budget 1 minutes," in told
    assert "minutes left for stages: stages.candidates" in told
    written, record = (read_json(tmp_path / "run" / name) for name in ("config.json", FILE))
    assert (written["generator"]["steps"], written["generator"]["align"]) == (4, 0.5)
    assert written["minutes"] == 0
    assert list(record["settled"]) == ["reference", "judge", "generator", "stages", "evaluation"]
    monkeypatch.setattr(budget, "measure_speed", None)
    monkeypatch.setattr(budget, "measure_again", None)
    assert main([*command, "--quiet"]) == 0
    assert main([*command, "--quiet", "--minutes", "2"]) == 2
    assert "was begun with --minutes 1, not 2" in capsys.readouterr().err
    # A second run with the recorded numbers makes the same bytes.
    again = tmp_path / "again"
    assert main(["distill", str(tmp_path / "run" / "config.json"), "--out", str(again), "--quiet"]) == 0
    for part in ("dataset", "generator"):
        files = [path for path in sorted((again / part).rglob("[!.]*")) if path.suffix in (".png", ".safetensors")]
        assert files
        for path in files:
            assert sha256(path) == sha256(tmp_path / "run" / path.relative_to(again))


@pytest.mark.usefixtures("speed")
@pytest.mark.parametrize("align", [True, False])
def test_a_generator_alone_shares_its_minutes_with_the_reference(align: bool, folder: Path, tmp_path: Path) -> None:
    """The reference that it is aligned with; without alignment there is none."""
    own = ["--generator.steps", "3"] if align else ["--generator.steps", "3", "--generator.align", "0"]
    command = ["generator", "train", f"folder:{folder}", "--minutes", "0.5", "--out", str(tmp_path), "--quiet", *own]
    assert main(command) == 0
    assert list(read_json(tmp_path / FILE)["settled"]) == ["reference", "generator"][not align :]
    config = read_json(tmp_path / "config.json")
    assert (tmp_path / "reference.safetensors").exists() == ("reference" in config) == align
    if align:
        settled = read_json(tmp_path / FILE)["settled"]["reference"]
        assert settled["expected_seconds"]["reference"] < 0.5 * settled["left"]
        epochs = config["reference"]["training"]["epochs"]
        assert epochs * 24 * SPEED.classifier == pytest.approx(settled["expected_seconds"]["reference"], abs=0.06)
    assert main(command) == 0


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
