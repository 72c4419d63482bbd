"""Soft labels: the loss against a plain formula, teachers that fit and do not, stored labels."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from lgd.classifiers.architectures import Classifier, new_classifier
from lgd.classifiers.train import save_classifier, soft_loss, soft_targets, train_classifier
from lgd.config import ClassifierConfig, Config, TrainingConfig, with_values
from lgd.data.imageset import ImageSet, to_float
from lgd.errors import UserError
from lgd.evaluation.soft_labels import load_teacher, store_soft_labels, stored_soft_labels, teacher_of
from lgd.rng import seeded_initialisation
from lgd.storage.files import save_tensors

NETWORK = ClassifierConfig(width=4)


def pictures(names: tuple[str, ...] = ("a", "b", "c")) -> ImageSet:
    images = torch.randint(0, 256, (6, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return ImageSet(images, torch.arange(6) % len(names), names)


def teacher_for(images: ImageSet, seed: int = 0) -> Classifier:
    with seeded_initialisation(seed):
        made = new_classifier(NETWORK, images.shape, len(images.class_names), torch.zeros(1), torch.ones(1))
    return made.eval().requires_grad_(False)


def test_gradient_is_that_of_the_kl_divergence_without_t_squared() -> None:
    T = 20.0
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    teacher = torch.randn(3, 4, generator=torch.Generator().manual_seed(1)) * 10
    targets = soft_targets(teacher, T)
    loss = 0.0
    for row, goal in zip(logits, teacher, strict=True):
        p = [math.exp(v / T) for v in goal.tolist()]
        p = [v / sum(p) for v in p]
        log_q = [v / T - torch.logsumexp(row / T, 0) for v in row]
        loss = loss + sum(a * (math.log(a) - b) for a, b in zip(p, log_q, strict=True)) / 3
    entropy = -(targets * targets.log()).sum(1).mean()
    got = soft_loss(logits, targets, T)
    torch.testing.assert_close(got - entropy, loss)
    (ours,) = torch.autograd.grad(got, logits, retain_graph=True)
    (plain,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(ours, plain)


def test_the_teacher_decides_not_the_label() -> None:
    """Both kinds of soft labels: a teacher that swaps the classes teaches the swap."""
    images = torch.zeros(16, 1, 8, 8, dtype=torch.uint8)
    images[::2, :, :, :4] = 255
    images[1::2, :, :, 4:] = 255
    train = ImageSet(images, torch.arange(16) % 2, ("left", "right"))
    hard = ClassifierConfig(width=8, training=TrainingConfig(epochs=10, crop_padding=0))
    swapped = ImageSet(images, 1 - train.labels, train.class_names)
    teacher = train_classifier(swapped, hard, 0)
    config = ClassifierConfig(width=8, training=TrainingConfig(epochs=10, crop_padding=0, temperature=1.0))
    stored = teacher(to_float(images))
    for source in (teacher, stored):
        student = train_classifier(train, config, 1, teacher=source)
        assert torch.equal(student(to_float(images)).argmax(1), swapped.labels)


def load_configured(config: Config, images: ImageSet) -> Classifier:
    """Load the teacher that a configuration names."""
    teacher = teacher_of(config.evaluation, None)
    assert teacher is not None
    return load_teacher(teacher, images, "cpu")


def test_teacher_of_other_classes_or_network_is_refused(tiny: Config, tmp_path: Path) -> None:
    images = pictures()
    path = tmp_path / "teacher.safetensors"
    save_classifier(teacher_for(images), path, NETWORK, images)
    config = with_values(
        tiny,
        {
            "evaluation.teacher.weights": str(path),
            "evaluation.teacher.architecture": "convnet",
            "evaluation.teacher.width": 4,
            "evaluation.protocol": "soft",
        },
    )
    x = to_float(images.images)
    assert torch.equal(load_configured(config, images)(x), teacher_for(images)(x))
    with pytest.raises(UserError, match=r"teacher\.safetensors: knows other classes: 'c' is there, but not asked for"):
        load_configured(config, pictures(("a", "b", "d")))
    with pytest.raises(UserError, match="knows other classes: 'c' is there"):
        load_configured(config, pictures(("a", "b")))
    wider = with_values(config, {"evaluation.teacher.width": 5})
    with pytest.raises(UserError, match="not the weights of this convnet"):
        load_configured(wider, images)
    save_tensors(path, {"x": torch.zeros(1)})
    with pytest.raises(UserError, match="does not name its classes"):
        load_configured(config, images)
    soft = with_values(tiny, {"evaluation.protocol": "soft"})
    with pytest.raises(UserError, match=r"need a teacher: set evaluation\.teacher\.weights"):
        load_configured(soft, images)


def test_stored_labels_come_back_by_file(tmp_path: Path) -> None:
    images, path = pictures(), tmp_path / "soft_labels.safetensors"
    files = [f"x/{i}.png" for i in range(6)]
    store_soft_labels(path, teacher_for(images), images, files)
    got = stored_soft_labels(path, files[:1:-1], images.class_names)
    torch.testing.assert_close(got, teacher_for(images)(to_float(images.images))[[5, 4, 3, 2]])
    with pytest.raises(UserError, match=r"soft_labels\.safetensors: no label for x/9\.png"):
        stored_soft_labels(path, ["x/9.png"], images.class_names)
    with pytest.raises(UserError, match="knows other classes"):
        stored_soft_labels(path, files, ("a", "b", "z"))
    save_tensors(path, {"logits": torch.zeros(2, 3)}, {"class_names": '["a", "b", "c"]', "files": "[]"})
    with pytest.raises(UserError, match=r"corrupt: logits \(2, 3\) for 0 files"):
        stored_soft_labels(path, files, images.class_names)
