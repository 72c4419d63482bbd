"""Protocols against the field's tables, learning rates and weight decay against hand values."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.cli.test_main import toml
from tests.worked_examples import worked_example

from lgd.classifiers.architectures import new_classifier
from lgd.classifiers.schedule import new_optimiser, rate_factor
from lgd.cli.main import main
from lgd.config import ClassifierConfig, Config, EvaluationConfig, TrainingConfig, with_values
from lgd.data.imageset import ImageSet
from lgd.data.splits import cached_splits
from lgd.evaluation.cells import Evaluation, evaluation_images, is_evaluated
from lgd.evaluation.protocols import PROTOCOLS, Protocol, hard_epochs, network_for, training_for

LARGE, SMALL = (3, 224, 224), (1, 8, 8)


@pytest.mark.parametrize(
    ("ipc", "epochs"),
    [(1, 3000), (2, 2000), (10, 2000), (11, 1500), (50, 1500), (51, 1000), (200, 1000), (500, 500), (501, 300)],
)
def test_epochs_by_ipc(ipc: int, epochs: int) -> None:
    assert hard_epochs(ipc, 10) == epochs
    assert training_for(EvaluationConfig(protocol="igd"), ipc, SMALL, 10).epochs == epochs


@pytest.mark.parametrize("protocol", ["minimax", "igd"])
@pytest.mark.parametrize(
    ("classes", "ipc", "epochs", "batch"),
    [
        (99, 10, 2000, 64), (100, 1, 2000, 64), (100, 10, 1300, 64), (100, 50, 1000, 64), (100, 100, 600, 64),
        (100, 201, 300, 64), (100, 501, 200, 64), (101, 10, 2000, 128), (1000, 50, 1500, 128),
    ],
)  # fmt: skip
def test_a_hundred_classes_train_for_less_and_more_in_larger_batches(
    protocol: str, classes: int, ipc: int, epochs: int, batch: int
) -> None:
    got = training_for(EvaluationConfig(protocol=protocol), ipc, LARGE, classes)
    assert (got.epochs, got.batch_size) == (epochs, batch)


def test_minimax_at_224_and_over_a_hundred_classes() -> None:
    got = training_for(EvaluationConfig(protocol="minimax"), 10, LARGE, 10)
    assert got == TrainingConfig(
        epochs=2000, batch_size=64, optimizer="sgd", learning_rate=0.01, weight_decay=5e-4, schedule="step",
        crop_padding=0, crop_scale=0.5, flip=True, colour_jitter=0.4, lighting=0.1, cutmix=True,
        imagenet_statistics=True,
    )  # fmt: skip
    many = training_for(EvaluationConfig(protocol="minimax"), 10, LARGE, 101)
    assert (many.learning_rate, many.weight_decay, many.batch_size) == (0.1, 1e-4, 128)


def test_igd_on_small_images_keeps_what_the_data_decides() -> None:
    own = ClassifierConfig(training=TrainingConfig(crop_padding=2, flip=False, learning_rate=0.5))
    got = training_for(EvaluationConfig(protocol="igd", classifier=own), 10, SMALL, 10)
    assert got == TrainingConfig(
        epochs=2000, optimizer="adamw", learning_rate=1e-3, weight_decay=0.01, crop_padding=2, cutmix=True
    )


@pytest.mark.parametrize(
    ("classes", "ipc", "batch"),
    [
        (10, 1, 10), (10, 10, 50), (10, 50, 100), (100, 1, 20), (100, 10, 100), (100, 50, 200), (200, 10, 100),
        (200, 50, 100), (1000, 1, 20), (1000, 10, 100), (1000, 50, 200), (2, 10, 20), (10, 20, 50), (10, 100, 100),
    ],
)  # fmt: skip
def test_soft_labels_as_rded(classes: int, ipc: int, batch: int) -> None:
    """At 224 pixels. The batches in its code: 10, 50 and 100 at 1, 10 and 50; doubled; 100 for Tiny ImageNet's 200."""
    got = training_for(EvaluationConfig(protocol="soft"), ipc, LARGE, classes)
    assert got == TrainingConfig(
        epochs=300, batch_size=batch, schedule="half-cosine", decay_norms=False, crop_padding=0, crop_scale=0.5,
        flip=True, patch_shuffle=2, cutmix=True, temperature=20.0, imagenet_statistics=True,
    )  # fmt: skip


def test_soft_labels_up_to_64_pixels_flip_and_mix_alone() -> None:
    """RDED makes an image of one patch there (its `factor` is 1): nothing to shuffle, and no smaller crops."""
    own = ClassifierConfig(training=TrainingConfig(crop_padding=4, flip=True))
    got = training_for(EvaluationConfig(protocol="soft", classifier=own), 10, (3, 32, 32), 10)
    assert (got.patch_shuffle, got.crop_scale, got.crop_padding, got.flip, got.cutmix) == (0, 0.0, 0, True, True)


@pytest.mark.parametrize(
    ("architecture", "rate"), [("vgg11", 5e-4), ("alexnet", 1e-4), ("resnet18", 1e-3), ("convnet", 1e-3)]
)
def test_soft_labels_have_a_rate_for_each_architecture(architecture: str, rate: float) -> None:
    got = network_for(EvaluationConfig(protocol="soft"), architecture, 10, LARGE, 10)
    assert (got.architecture, got.training.learning_rate) == (architecture, rate)
    assert network_for(EvaluationConfig(protocol="igd"), architecture, 10, LARGE, 10).training.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("protocol", "norm", "padding"),
    [("configured", "instance", 1), ("minimax", "instance", 3), ("igd", "instance", 3), ("soft", "batch", 3)],
)
def test_norm_and_grey_padding_by_protocol(protocol: str, norm: str, padding: int) -> None:
    got = network_for(EvaluationConfig(protocol=protocol), "convnet", 10, (1, 28, 28), 10)
    assert (got.norm, got.grey_padding) == (norm, padding)


def resized_test_images(config: Config) -> ImageSet:
    return evaluation_images(Evaluation(config.dataset, config.evaluation, config.stages, 0, "cpu", None))


def test_soft_labels_are_tested_on_the_centre_of_images_resized_by_8_to_7(tmp_path: Path) -> None:
    """RDED: 256 and 224, 144 and 128, 72 and 64, 32 and 32. Here a stripe at the edge is resized and then cut off."""
    resize = PROTOCOLS["soft"].resize
    assert resize is not None
    assert [resize(side) for side in (224, 128, 64, 32)] == [256, 144, 72, 32]
    for name in ("train", "val"):
        for label in ("a", "b"):
            (tmp_path / name / label).mkdir(parents=True)
            for i in range(4):
                pixels = np.full((128, 128, 3), 40 * i, np.uint8)
                pixels[:4] = pixels[-4:] = 255
                Image.fromarray(pixels).save(tmp_path / name / label / f"{i}.png")
    whole = with_values(Config(), {"dataset.source": f"folder:{tmp_path}", "dataset.size": 64, "dataset.channels": 3})
    soft = with_values(whole, {"evaluation.protocol": "soft"})
    held_out = with_values(soft, {"dataset.eval_split": "validation"})
    for found, striped in ((whole, True), (soft, False), (held_out, False)):
        images = resized_test_images(found)
        assert images.shape == (3, 64, 64)
        assert (images.images[:, :, 0] == 255).all().item() is striped
        assert len(images) == (2 if found.dataset.eval_split == "validation" else 8)
    one = with_values(soft, {"dataset.source": f"folder:{tmp_path / 'val'}"})
    assert [len(images) for images in (cached_splits(one.dataset).train, cached_splits(one.dataset).test)] == [6, 2]
    assert torch.equal(resized_test_images(one).labels, cached_splits(one.dataset).test.labels)


def test_epochs_factor_scales_every_protocol_to_one_at_least() -> None:
    scaled = EvaluationConfig(protocol="igd", epochs_factor=0.05)
    assert training_for(scaled, 10, SMALL, 10).epochs == 100
    configured = EvaluationConfig(epochs_factor=0.5, classifier=ClassifierConfig(training=TrainingConfig(epochs=30)))
    assert training_for(configured, 10, SMALL, 10) == TrainingConfig(epochs=15)
    assert training_for(EvaluationConfig(protocol="soft", epochs_factor=1e-6), 10, SMALL, 10).epochs == 1


def test_the_documented_addition(
    finished: Path, tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """docs/protocols.md: one file and one line make a protocol that the commands take, list and name."""
    for name, protocol in worked_example("protocols.md", "Add a protocol", {"Protocol": Protocol}).items():
        monkeypatch.setitem(PROTOCOLS, name, protocol)
    config = with_values(tiny, {"evaluation.protocol": "fixed-steps", "evaluation.epochs_factor": 5e-4})
    preset, result = toml(config, tmp_path / "tiny.toml"), tmp_path / "result.json"
    command = ["evaluate", str(finished), "--test", str(preset), "--seeds", "1", "--json", str(result)]
    assert main([*command, "--out", str(tmp_path / "cells"), "--quiet"]) == 0
    assert json.loads(result.read_text())["protocol"] == {"name": "fixed-steps", "epochs_factor": 5e-4}
    assert json.loads((tmp_path / "cells" / "convnet-0.json").read_text())["epochs"] == 5
    with pytest.raises(SystemExit):
        main(["distill", "digits", "--help-all"])
    assert "fixed-steps  hard labels, 10,000 batches of 64" in capsys.readouterr().out
    assert main(["distill", str(preset), "--evaluation.protocol", "fixd-steps", "--out", str(tmp_path / "run")]) == 2
    assert "evaluation.protocol: unknown 'fixd-steps'; did you mean 'fixed-steps'?" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_schedules_against_hand_values() -> None:
    assert [rate_factor(e, 300, "step") for e in (0, 199, 200, 249, 250, 299)] == pytest.approx(
        [1, 1, 0.2, 0.2, 0.04, 0.04]
    )
    assert [rate_factor(e, 300, "cosine") for e in (0, 150, 300)] == pytest.approx([1, 0.5, 0])
    half = [rate_factor(e, 300, "half-cosine") for e in (0, 150, 300)]
    assert half == pytest.approx([1, (1 + math.sqrt(0.5)) / 2, 0.5])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_biases_and_norms_may_be_spared_from_decay(optimizer: str) -> None:
    """With a zero gradient, weight decay alone moves a parameter."""
    config = ClassifierConfig(width=4)
    for spared in (True, False):
        classifier = new_classifier(config, (1, 8, 8), 2, torch.zeros(1), torch.ones(1))
        training = TrainingConfig(optimizer=optimizer, weight_decay=0.5, learning_rate=0.1, decay_norms=not spared)  # type: ignore[arg-type]
        before = {name: p.detach().clone() for name, p in classifier.named_parameters()}
        optimiser = new_optimiser(classifier, training)
        for p in classifier.parameters():
            p.grad = torch.zeros_like(p)
        optimiser.step()
        for name, p in classifier.named_parameters():
            expected = before[name] if spared and p.ndim == 1 else before[name] * (1 - 0.1 * 0.5)
            torch.testing.assert_close(p.detach(), expected)


@pytest.mark.parametrize(("epochs", "evaluations"), [(100, 5), (7, 3), (3, 100), (1, 1)])
def test_evaluations_are_even_and_end_with_the_last_epoch(epochs: int, evaluations: int) -> None:
    chosen = [e for e in range(1, epochs + 1) if is_evaluated(e, epochs, evaluations)]
    assert len(chosen) == min(epochs, evaluations)
    assert chosen[-1] == epochs
    gaps = [b - a for a, b in zip([0, *chosen], chosen, strict=False)]
    assert max(gaps) - min(gaps) <= 1
