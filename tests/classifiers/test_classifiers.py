from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lgd.classifiers.architectures import channel_statistics, new_classifier
from lgd.classifiers.convnet import convnet, convnet_depth
from lgd.classifiers.train import accuracy, load_classifier, rate_factor, save_classifier, train_classifier
from lgd.config import ClassifierConfig, TrainingConfig
from lgd.data.imageset import ImageSet, to_float
from lgd.errors import NonFiniteError, UserError
from lgd.rng import seeded_initialisation


def two_classes(count: int = 64) -> ImageSet:
    """Bright left half against bright right half, with noise."""
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 2
    images = torch.randint(0, 100, (count, 1, 8, 8), generator=g, dtype=torch.uint8)
    for i, label in enumerate(labels):
        images[i, :, :, 4 * label : 4 * label + 4] += 120
    return ImageSet(images, labels, ("left", "right"))


CONFIG = ClassifierConfig(width=8, training=TrainingConfig(epochs=6, batch_size=16, crop_padding=0))


@pytest.mark.parametrize(("size", "depth"), [(8, 2), (16, 2), (28, 3), (32, 3), (64, 4), (128, 5), (224, 6), (256, 6)])
def test_depth_by_size(size: int, depth: int) -> None:
    assert convnet_depth(size) == depth


def test_convnet_is_the_published_one() -> None:
    """ConvNet-3 at 32 x 32, width 128, has 320,010 parameters in the literature (instance norm, 10 classes)."""
    network = convnet((3, 32, 32), 10, 128, 3)
    assert sum(p.numel() for p in network.parameters()) == 320_010
    norms = [m for m in network if isinstance(m, nn.GroupNorm)]
    x = torch.randn(2, 128, 4, 4)
    torch.testing.assert_close(norms[0](x), F.instance_norm(x))


def test_too_deep_and_unknown_are_refused() -> None:
    with pytest.raises(UserError, match="depth 6 is too deep for images of 8 x 8"):
        convnet((1, 8, 8), 10, 8, 6)
    with pytest.raises(UserError, match="unknown architecture 'convnt'; did you mean 'convnet'"):
        new_classifier(ClassifierConfig("convnt"), (1, 8, 8), 2, torch.zeros(1), torch.ones(1))


def test_normalisation_cannot_be_forgotten() -> None:
    """A classifier takes images in [0, 1] and normalises them as it was trained."""
    train = two_classes()
    classifier = train_classifier(train, CONFIG, 0)
    mean, std = channel_statistics(train)
    values = train.images.double() / 255
    assert mean.item() == pytest.approx(values.mean().item())
    assert std.item() == pytest.approx(values.std().item(), rel=1e-4)
    x = to_float(train.images)
    torch.testing.assert_close(classifier(x), classifier.network((x - mean) / std))


def test_learns_and_repeats_itself() -> None:
    train = two_classes()
    first, second = (train_classifier(train, CONFIG, 3) for _ in range(2))
    other = train_classifier(train, CONFIG, 4)
    assert accuracy(first, train) > 95
    weights = [list(c.state_dict().values()) for c in (first, second, other)]
    assert all(torch.equal(a, b) for a, b in zip(weights[0], weights[1], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(weights[0], weights[2], strict=True))


def test_training_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    train_classifier(two_classes(8), CONFIG, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_features_are_what_the_head_sees() -> None:
    classifier = train_classifier(two_classes(8), CONFIG, 0)
    x = torch.rand(3, 1, 8, 8)
    torch.testing.assert_close(classifier.network[-1](classifier.features(x)), classifier(x))


def test_rate_falls_at_two_thirds_and_five_sixths() -> None:
    factors = [rate_factor(epoch, 12) for epoch in range(12)]
    assert factors == pytest.approx([1] * 8 + [0.2] * 2 + [0.04] * 2)


def test_accuracy_is_in_percent() -> None:
    train = two_classes(10)

    class Constant(nn.Module):
        mean = torch.zeros(1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tensor([[1.0, 0.0]]).expand(len(x), 2)

    assert accuracy(Constant(), train) == 50  # type: ignore[arg-type]


def test_a_loss_that_explodes_is_named() -> None:
    wild = ClassifierConfig(width=8, training=TrainingConfig(epochs=3, optimizer="sgd", learning_rate=1e30))
    with pytest.raises(NonFiniteError, match=r"^loss (nan|inf) at step"):
        train_classifier(two_classes(), wild, 0)


def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    train = two_classes()
    classifier = train_classifier(train, CONFIG, 0)
    path = tmp_path / "c.safetensors"
    save_classifier(classifier, path, CONFIG, train)
    x = torch.rand(3, 1, 8, 8)
    with seeded_initialisation(9):
        assert torch.equal(load_classifier(path, CONFIG, train)(x), classifier(x))
    with pytest.raises(UserError, match=r"c\.safetensors: not the weights of this convnet"):
        load_classifier(path, ClassifierConfig(width=16), train)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"c\.safetensors: corrupt"):
        load_classifier(path, CONFIG, train)
