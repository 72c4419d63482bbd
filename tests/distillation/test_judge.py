"""The judge: another network than the reference, without a part in making images."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from lgd.classifiers.architectures import features_and_logits, predict
from lgd.classifiers.train import accuracy, save_classifier, train_classifier, untrained_classifier
from lgd.config import Config, JudgeConfig, TrainingConfig, with_values
from lgd.data.imageset import to_float
from lgd.data.splits import cached_splits
from lgd.distillation.judge import accuracies_on_test, load_judge, load_reference, real_outputs
from lgd.distillation.layout import Run, read_metrics
from lgd.distillation.recipe import assets_of
from lgd.distillation.stages import grow
from lgd.distillation.store import read_increment
from lgd.errors import UserError
from lgd.execution.local import Local
from lgd.experiments.reference import guessing_warning
from lgd.experiments.resolve import resolve
from lgd.storage.files import sha256


def test_it_measures_validity_and_the_reference_stands_beside_it(finished: Path, tiny: Config) -> None:
    """Both shares of metrics.json, one image at a time."""
    metrics, assets = read_metrics(finished / "metrics.json"), assets_of(tiny, finished, "cpu")
    train = cached_splits(tiny.dataset).train
    networks = {"validity": load_judge(assets), "reference_validity": load_reference(assets)}
    for row in metrics["increments"]:
        part = read_increment(Run(finished).increment(row["index"]), train.class_names)
        for key, network in networks.items():
            right = [
                int(network(to_float(image[None])).argmax()) == label
                for image, label in zip(part.images, part.labels, strict=True)
            ]
            assert row[key] == pytest.approx(100 * sum(right) / len(right))
    assert metrics["judge"]["architecture"] == tiny.judge.architecture != tiny.reference.architecture


def test_images_do_not_depend_on_it(finished: Path, tiny: Config, tmp_path: Path) -> None:
    """An increment is sampled again to the same bytes where there is no judge."""
    root = tmp_path / "run"
    shutil.copytree(finished, root)
    (root / "judge.safetensors").unlink()
    before = {path.name: sha256(path) for path in sorted((root / "increments" / "02").glob("*/*.png"))}
    shutil.rmtree(root / "increments" / "02")
    experiment = resolve(tiny)
    grow(experiment.growth(Run(root), experiment.assets(root)), Local(1, root))
    assert {path.name: sha256(path) for path in sorted((root / "increments" / "02").glob("*/*.png"))} == before


def test_features_and_logits_of_its_images(finished: Path, tiny: Config) -> None:
    assets, train = assets_of(tiny, finished, "cpu"), cached_splits(tiny.dataset).train
    judge, some = load_judge(assets), train.subset(range(100))
    features, logits = features_and_logits(judge, some)
    torch.testing.assert_close(logits, predict(judge, some))
    torch.testing.assert_close(judge.network[-1](features), logits)
    real = real_outputs(judge, tiny.dataset)
    assert [len(part) for part in real] == [len(train)] * 2
    torch.testing.assert_close(real[0][:100], features)
    assert real_outputs(load_judge(assets), tiny.dataset)[0] is real[0]
    for part, whole in zip(real_outputs(judge, tiny.dataset, 3), real, strict=True):
        torch.testing.assert_close(part, whole[train.indices_of(3)])


def test_accuracies_on_test_are_of_the_file_that_is_there(finished: Path, tiny: Config, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    assets, splits = assets_of(tiny, tmp_path / "run", "cpu"), cached_splits(tiny.dataset)
    plain = {"judge": load_judge(assets), "reference": load_reference(assets)}
    found = accuracies_on_test(assets)
    assert found == {name: accuracy(network, splits.test) for name, network in plain.items()}
    assert accuracies_on_test(assets) == found
    other = untrained_classifier(splits.train, tiny.judge, 7).eval()
    save_classifier(other, assets.judge_file, tiny.judge, splits.train)
    assert accuracies_on_test(assets) == {**found, "judge": accuracy(other, splits.test)}


def test_a_network_that_only_guesses_is_told(tiny: Config, tmp_path: Path) -> None:
    train = cached_splits(tiny.dataset).train
    learns = JudgeConfig(training=TrainingConfig(epochs=3, learning_rate=3e-3))
    assets = assets_of(with_values(tiny, {"judge": learns}), tmp_path, "cpu")
    save_classifier(untrained_classifier(train, tiny.reference, 3), assets.reference_file, tiny.reference, train)
    save_classifier(train_classifier(train, learns, 0), assets.judge_file, learns, train)
    message = guessing_warning(assets, True)
    assert "warning: the reference recognises only" in message
    assert "of the 450 real test images (guessing: 10.0 %), so guidance and selection say little" in message
    assert "judge" not in message
    save_classifier(untrained_classifier(train, learns, 3), assets.judge_file, learns, train)
    assert "% and the judge recognises only" in guessing_warning(assets, True)


def test_it_must_be_another_network(tiny: Config) -> None:
    with pytest.raises(UserError, match=r"judge.architecture: 'convnet' is the reference's, too"):
        with_values(tiny, {"judge.architecture": "convnet"})
