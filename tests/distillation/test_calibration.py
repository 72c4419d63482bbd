"""Calibrated strength and the adaptive schedule, on a tiny run that has both, with coverage of the class."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from statistics import fmean

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lgd.classifiers.architectures import predict
from lgd.cli.main import main
from lgd.config import Config, load_config, with_values
from lgd.distillation import fresh as fresh_module
from lgd.distillation.calibration import LOST, chosen_strength, strengths_for
from lgd.distillation.fresh import fresh_images, images_per_class, some_classes
from lgd.distillation.layout import CALIBRATED_STRENGTHS, Run
from lgd.distillation.methods import is_calibrated, methods_used, with_method
from lgd.distillation.recipe import Growth, recipe_of
from lgd.distillation.resources import Resources
from lgd.distillation.stages import sampling_units
from lgd.distillation.store import read_manifest
from lgd.experiments.distill import distill
from lgd.experiments.resolve import resolve
from lgd.experiments.status import run_status
from lgd.profiling.plan import Rates, plan, table
from lgd.profiling.sizes import Sizes
from lgd.rng import derive_seed
from lgd.storage.files import read_json, sha256

ROWS = st.lists(st.tuples(st.floats(0.01, 1), st.floats(0, 100)), min_size=1, max_size=6, unique_by=lambda row: row[0])


@pytest.fixture(scope="module")
def config(tiny: Config) -> Config:
    return with_values(
        tiny,
        {
            "guidance.strength": "auto",
            "stages.schedule": "adaptive",
            "stages.margin": 0.0,
            "stages.coverage": "herding",
            "stages.coverage_increments": 1,
            "stages.classes_per_unit": 10,
            "evaluation.seeds": 1,
            "evaluation.redundancy_seeds": 1,
        },
    )


@pytest.fixture(scope="module")
def calibrated(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run, which tests must not change; the second increment's learner ends the set or does not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fresh_module, "PLACES", 20)
        return distill(config, tmp_path_factory.mktemp("calibrated") / "run").root


def growth_of(config: Config, root: Path) -> Growth:
    experiment = resolve(config)
    return experiment.growth(Run(root), experiment.assets(root))


@given(ROWS, st.floats(0, 100))
def test_the_largest_strength_that_loses_little_is_chosen(found: list[tuple[float, float]], unguided: float) -> None:
    """Also by the standard error that repeated draws of 45 valid images have."""
    shared = {"images": 60, "recognised_by_reference": 75.0}
    rows = [{"strength": s, "recognised": r, **shared} for s, r in [(0.0, unguided), *found]]
    best = 0.0
    for row in rows:
        p, q = unguided / 100, row["recognised"] / 100
        error = 100 * math.sqrt(p * (1 - p) / 45 + q * (1 - q) / 45)
        if unguided - row["recognised"] <= LOST + error and row["strength"] > best:
            best = row["strength"]
    assert chosen_strength(rows) == best


def test_measured_tables_of_digits_give_strengths_near_the_tuned_one() -> None:
    """Three runs (benchmarks/coverage.md): shares recognised and valid; 0.45 was tuned by hand."""
    strengths = (0, 0.11, 0.18, 0.28, 0.45, 0.72)
    tables = (
        ((92.9, 91.2, 91.2, 93.0, 91.2, 89.1), (93.3, 95.0, 95.0, 95.0, 95.0, 91.7)),
        ((93.1, 94.6, 92.9, 94.5, 90.6, 88.2), (96.7, 93.3, 93.3, 91.7, 88.3, 85.0)),
        ((96.6, 89.1, 85.2, 86.5, 84.3, 85.7), (96.7, 91.7, 90.0, 86.7, 85.0, 81.7)),
    )
    rows = [
        [
            {"strength": s, "recognised": r, "recognised_by_reference": v, "images": 60}
            for s, r, v in zip(strengths, *table, strict=True)
        ]
        for table in tables
    ]
    assert [chosen_strength(one) for one in rows] == [0.72, 0.72, 0.28]


def test_the_ladder_holds_the_strengths_that_were_tuned_by_hand() -> None:
    """For the values of a sample of digits, CIFAR-10 and Tiny-ImageNet-10."""
    for values, preset in ((64, "digits"), (2048, "cifar10"), (4608, "tiny-imagenet-10")):
        ladder, tuned = strengths_for(values), load_config(preset).guidance.strength
        assert ladder[0] == 0
        assert ladder == sorted(ladder)
        assert len(ladder) == CALIBRATED_STRENGTHS
        assert min(abs(strength / float(tuned) - 1) for strength in ladder) < 0.06


@pytest.mark.parametrize("classes", [1, 2, 7, 10, 60, 61, 119, 1000])
def test_places_are_spread_over_the_classes(classes: int) -> None:
    chosen = some_classes(classes)
    assert set(chosen) <= set(range(classes))
    assert 30 <= len(chosen) * images_per_class(chosen) < 60 + len(chosen)
    assert len(chosen) == classes or images_per_class(chosen) <= 2


def test_the_run_keeps_the_table_and_samples_with_its_strength(calibrated: Path, config: Config) -> None:
    run = Run(calibrated)
    found = read_json(run.calibration(2))
    assert [row["strength"] for row in found["rows"]] == strengths_for(64)
    assert found["strength"] == chosen_strength(found["rows"])
    assert not run.calibration(1).exists()
    assert not run.calibration(3).exists()
    assert read_json(run.metrics)["calibration"] == found
    growth = growth_of(config, calibrated)
    for increment in (2, 3):
        assert Resources(growth, increment, range(10)).config.guidance.strength == found["strength"]
    assert f"calibration, found {found['strength']:g}" in run_status(calibrated)


def test_a_row_is_what_one_image_at_a_time_says(
    calibrated: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh_module, "PLACES", 20)
    growth, row = growth_of(config, calibrated), read_json(Run(calibrated).calibration_row(2, 3))
    guidance = with_values(config, {"guidance.strength": row["strength"]}).guidance
    images, candidates = fresh_images(growth, 2, guidance, "calibration")
    resources = Resources(growth, 2, range(10))
    with torch.no_grad():
        own = [int(resources.independent(image[None].float() / 255).argmax()) for image in images.images]
        other = [int(resources.reference(image[None].float() / 255).argmax()) for image in images.images]
    labels = images.labels.tolist()
    both = sum(a == b == c for a, b, c in zip(own, labels, other, strict=True))
    known = sum(a == b for a, b in zip(other, labels, strict=True))
    assert row["recognised"] == pytest.approx(100 * both / max(1, known))
    assert row["recognised_by_reference"] == pytest.approx(
        100 * fmean(a == b for a, b in zip(other, labels, strict=True))
    )
    assert row["score"] == pytest.approx(fmean(c.score for c in candidates))  # type: ignore[arg-type, misc]
    assert row["images"] == len(images) == 20
    used = {c.seed for i in (1, 2) for r in read_manifest(Run(calibrated).increment(i)) for c in r.candidates}
    assert not used & {c.seed for c in candidates}


def test_the_independent_network_is_neither_reference_nor_judge(calibrated: Path, config: Config) -> None:
    growth = growth_of(config, calibrated)
    network = Resources(growth, 2, range(10)).independent
    assert sha256(growth.assets.independent_file) != sha256(growth.assets.judge_file)
    images = resolve(config).splits.test
    assert predict(network, images).shape == (len(images), 10)
    plain = with_values(config, {"guidance.strength": 0.3, "stages.coverage": "none"})
    for fields, needed in (({}, True), ({"guidance.strength": 0.3}, True), ({"stages.coverage": "none"}, True)):
        names = [asset.name for method in methods_used(with_values(config, fields)) for asset in method.assets]
        assert ("independent" in names) == needed
    assert not any(method.assets for method in methods_used(plain))


def test_a_damaged_row_is_made_again_to_the_same_bytes(calibrated: Path, config: Config, tmp_path: Path) -> None:
    """And nothing else: the run resumes between calibration and increment."""
    copy = tmp_path / "run"
    shutil.copytree(calibrated, copy)
    run = Run(copy)
    before = {path: sha256(path) for path in copy.glob("increments/**/*") if path.is_file()}
    for path in (run.calibration_row(2, 4), run.metrics, run.increment(2) / "done", run.group(2, 0)):
        path.unlink()
    run.calibration(2).unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fresh_module, "PLACES", 20)
        distill(config, copy)
    assert {path: sha256(path) for path in before} == before


def test_methods_without_such_guidance_are_not_calibrated(config: Config) -> None:
    guided = {
        name: is_calibrated(recipe_of(with_method(config, name)))
        for name in ("lgd", "lgd-omega0", "lgd-selection-only", "lgd-fixed-strength", "dit", "igd", "mgd3", "herding")
    }
    assert [name for name, value in guided.items() if value] == ["lgd", "lgd-omega0"]


@pytest.mark.parametrize("margin", [0.0, 1e6])
def test_the_set_ends_when_the_learner_catches_up(
    margin: float, calibrated: Path, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh_module, "PLACES", 20)
    copy = tmp_path / "run"
    shutil.copytree(calibrated, copy)
    for folder in ("increments/02", "increments/03", "evaluation", "dataset", "figures"):
        shutil.rmtree(copy / folder, ignore_errors=True)
    values = json.loads((copy / "config.json").read_text())
    values["stages"]["margin"] = margin
    (copy / "config.json").write_text(json.dumps(values))
    run = distill(with_values(config, {"stages.margin": margin, "guidance.strength": "auto"}), copy)
    losses = read_json(run.fresh(2))
    assert losses["ended"] == (losses["learner_loss"] - losses["reference_loss"] <= margin)
    made = run.last_increment(3)
    assert made == 1 if margin else made > 1
    metrics = read_json(run.metrics)
    assert [row["index"] for row in metrics["increments"]] == list(range(1, made + 1))
    assert len(list((copy / "dataset").glob("*/*.png"))) == 20 * made
    assert f"increment {made + 1}, class" not in run_status(copy)
    assert main(["report", str(copy), "--out", str(tmp_path / "page.html"), "--quiet"]) == 0
    page = (tmp_path / "page.html").read_text()
    assert ("of these by the independent network" in page) == (metrics["calibration"] is not None)


def test_status_and_plan_say_that_increments_may_be_fewer(calibrated: Path, config: Config, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(calibrated, copy)
    for path in (*copy.glob("increments/0[23]/fresh.json"), *copy.glob("increments/0[23]/groups/*.json")):
        path.unlink()
    assert "increment 3, class groups, if needed" in run_status(copy)
    sizes = Sizes(10, 1347, 450, (1, 8, 8), loaded=True)
    found = plan(config, sizes, Rates(1e11, 3e11), fake=False)
    names = [phase.name for phase in found.phases]
    assert {"independent", "calibration and fresh candidates", "up to images", "up to evaluation"} <= set(names)
    assert "| up to " in table(found, sizes, Rates(1e11, 3e11)).split("| all ")[1]
    assert sampling_units(growth_of(config, calibrated), 1)
    assert derive_seed(0, "fresh") != derive_seed(0, "calibration")
