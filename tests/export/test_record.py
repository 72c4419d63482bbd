"""An exported set is evaluated again from its own record, against the interval that its card states."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lgd.cli.main import main
from lgd.errors import UserError
from lgd.evaluation.intervals import prediction_interval, t_interval
from lgd.experiments.evaluate import evaluate
from lgd.export import export
from lgd.export.record import record_of, stated_in
from lgd.export.samples import read_export
from lgd.storage.files import read_json, write_json


@pytest.fixture(scope="module")
def released(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("datasets")
    return export(finished, "hf", tmp_path_factory.mktemp("released") / "set")


def test_a_released_set_is_evaluated_as_its_card_says(
    finished: Path, released: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = read_json(finished / "metrics.json")["increments"][-1]["architectures"]["convnet"]
    low, high = prediction_interval(own["values"], 2) or (0.0, 0.0)
    card = (released / "README.md").read_text()
    stated = re.search(r"\| convnet +\| +([\d.]+) ± [\d.]+ \| +(-?[\d.]+) to ([\d.]+) \|", card)
    assert stated
    assert [float(number) for number in stated.groups()] == [round(x, 1) for x in (own["mean"], low, high)]
    assert "lgd evaluate FOLDER --test SOURCE --seeds 2" in card

    assert main(["evaluate", str(released), "--seeds", "2", "--json", str(tmp_path / "a.json"), "--quiet"]) == 0
    found = read_json(tmp_path / "a.json")
    assert found["protocol"] == {"name": "configured", "epochs_factor": 1.0}
    assert found["test_images"] == 450
    within = low <= found["accuracy"]["mean"] <= high
    assert found["stated"]["convnet"] == pytest.approx(
        {"mean": own["mean"], "low": low, "high": high, "within": within}
    )
    told = "it lies there" if within else "it does not lie there"
    line = f"convnet: the card states {own['mean']:.1f} %, 2 new classifiers {low:.1f} to {high:.1f} %: {told}"
    printed = capsys.readouterr().out
    assert line in printed
    assert "450 real test images of digits" in printed


def test_the_card_counts_increments_that_were_not_evaluated(finished: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    metrics = read_json(run / "metrics.json")
    write_json(run / "metrics.json", {**metrics, "increments": metrics["increments"][-1:]})
    card = (export(run, "imagefolder", tmp_path / "set") / "README.md").read_text()
    assert "60 synthetic training images of 10 classes (6 per class), in 3 increments." in card


def test_another_evaluation_is_not_compared(released: Path) -> None:
    assert evaluate(released, None, 1, {"evaluation.classifier.training.epochs": 1})["stated"] is None


def test_a_path_stays_on_its_machine(finished: Path, released: Path, tmp_path: Path) -> None:
    own = read_export(finished)
    dataset = {**own.config["dataset"], "source": "parquet:/home/me/train.parquet,/home/me/test.parquet"}
    record = record_of(replace(own, config={**own.config, "dataset": dataset}))
    assert "/home" not in json.dumps(record)
    write_json(tmp_path / "accuracy.json", record)
    stated = stated_in(tmp_path)
    assert stated
    assert stated.config.dataset.source == ""
    assert stated.config.evaluation.classifier.width == own.config["evaluation"]["classifier"]["width"]
    with pytest.raises(UserError, match="name the real images of the card with --test"):
        evaluate(tmp_path)
    assert stated_in(released / "0") is None
    (tmp_path / "accuracy.json").write_text("[]")
    with pytest.raises(UserError, match=r"accuracy\.json: corrupt, not a record of an evaluation"):
        evaluate(tmp_path)


def test_the_prediction_interval_covers_what_it_claims() -> None:
    draws = np.random.default_rng(0).normal(50, 2, (4000, 8))
    intervals = [prediction_interval(row[:3].tolist(), 5) for row in draws]
    covered = np.mean([low <= row[3:].mean() <= high for row, (low, high) in zip(draws, intervals, strict=True)])  # type: ignore[misc]
    assert covered == pytest.approx(0.95, abs=0.012)
    assert prediction_interval([1.0], 5) is None
    values = [1.0, 2.0, 4.0]
    assert prediction_interval(values, 10**12) == pytest.approx(t_interval(values), rel=1e-6)
