"""Protocols against the field's tables, learning rates and weight decay against hand values."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from tests.cli.test_main import toml
from tests.worked_examples import worked_example

from lgd.classifiers.architectures import new_classifier
from lgd.classifiers.schedule import new_optimiser, rate_factor
from lgd.cli.main import main
from lgd.config import ClassifierConfig, Config, EvaluationConfig, TrainingConfig, with_values
from lgd.evaluation.cells import is_evaluated
from lgd.evaluation.protocols import PROTOCOLS, Protocol, hard_epochs, training_for

LARGE, SMALL = (3, 224, 224), (1, 8, 8)


@pytest.mark.parametrize(
    ("ipc", "epochs"),
    [(1, 3000), (2, 2000), (10, 2000), (11, 1500), (50, 1500), (51, 1000), (200, 1000), (500, 500), (501, 300)],
)
def test_epochs_by_ipc(ipc: int, epochs: int) -> None:
    assert hard_epochs(ipc) == epochs
    assert training_for(EvaluationConfig(protocol="igd"), ipc, SMALL, 10).epochs == epochs


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


@pytest.mark.parametrize(("ipc", "batch"), [(10, 100), (50, 200)])
def test_soft_labels_as_rded(ipc: int, batch: int) -> None:
    got = training_for(EvaluationConfig(protocol="soft"), ipc, LARGE, 1000)
    assert got == TrainingConfig(
        epochs=300, batch_size=batch, schedule="half-cosine", decay_norms=False, crop_padding=0, crop_scale=0.5,
        flip=True, patch_shuffle=2, cutmix=True, temperature=20.0, imagenet_statistics=True,
    )  # fmt: skip


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
        main(["distill", "digits", "--help"])
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
