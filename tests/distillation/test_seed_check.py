"""What a run says of how much of the seed set the judge recognises."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lgd.classifiers.train import load_classifier
from lgd.config import Config, with_values
from lgd.data.imageset import to_float
from lgd.data.splits import cached_splits
from lgd.distillation import seed_check as module
from lgd.distillation.judge import accuracy_on_test
from lgd.distillation.layout import Run, read_metrics
from lgd.distillation.recipe import Growth
from lgd.distillation.seed_check import seed_set_verdict
from lgd.distillation.store import read_increment
from lgd.experiments.distill import distill
from lgd.experiments.resolve import resolve


def recognised(root: Path, config: Config) -> int:
    """Count the images of increment 1 that the judge recognises, one at a time."""
    train = cached_splits(config.dataset).train
    judge = load_classifier(root / "judge.safetensors", config.judge, train)
    images = read_increment(Run(root).increment(1), train.class_names)
    with torch.no_grad():
        found = [int(judge(to_float(image[None])).argmax()) for image in images.images]
    return sum(a == b for a, b in zip(found, images.labels.tolist(), strict=True))


def growth_of(config: Config, root: Path) -> Growth:
    experiment = resolve(config)
    return experiment.growth(Run(root), experiment.assets(root))


def test_it_counts_the_recognised_images(finished: Path, tiny: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    count, real = recognised(finished, tiny), read_metrics(finished / "metrics.json")["judge"]["accuracy"]
    share = (5 * count - 10) / (real - 10)  # of the way from guessing to real images
    monkeypatch.setattr(module, "LEAST_RECOGNISED", share - 0.01)
    said = seed_set_verdict(growth_of(tiny, finished))
    assert said.startswith(f"the judge recognises {5 * count:.1f} % of the 20 generated images of increment 1, and")
    monkeypatch.setattr(module, "LEAST_RECOGNISED", share + 0.01)
    measured = accuracy_on_test.cache_info().misses
    message = seed_set_verdict(growth_of(tiny, finished))
    assert f"the judge recognises only {5 * count:.1f} % of the 20 generated images of increment 1" in message
    assert f"{real:.1f} % of real test images (guessing: 10.0 %)" in message
    assert accuracy_on_test.cache_info().misses == measured  # the real images are classified once per process
    assert "generator.steps" in message
    assert "\n" not in message


def test_real_images_get_no_warning(finished: Path, tiny: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_RECOGNISED", 20.0)
    assert seed_set_verdict(growth_of(with_values(tiny, {"stages.seed_method": "random"}), finished)) == ""
    assert seed_set_verdict(growth_of(with_values(tiny, {"method": "herding"}), finished)) == ""


def test_a_run_warns_once(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "LEAST_RECOGNISED", 20.0)
    config = with_values(tiny, {"method": "dit", "stages.increments": 2})
    distill(config, tmp_path / "run")
    assert caplog.text.count("generated images of increment 1") == 1
    caplog.clear()
    distill(config, tmp_path / "run")
    assert "warning" not in caplog.text
