"""Networks of the user's own, by the import path of their factory: features, saved weights, their head."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.factories import Perceptron
from torch import nn

from lgd.classifiers.architectures import Classifier, features_and_logits, new_classifier, predict
from lgd.classifiers.train import load_classifier, save_classifier
from lgd.config import ClassifierConfig
from lgd.data.imageset import ImageSet
from lgd.errors import UserError
from lgd.rng import generator, seeded_initialisation

OWN = ClassifierConfig("tests.factories:perceptron")
IMAGES = ImageSet(
    torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8, generator=generator("own")),
    torch.arange(5) % 3,
    ("a", "b", "c"),
)


def classifier_of(config: ClassifierConfig) -> Classifier:
    with seeded_initialisation(1):
        return new_classifier(config, (1, 8, 8), 3, torch.tensor([0.4]), torch.tensor([0.3])).eval()


def test_features_are_the_input_of_the_layer_that_is_called_last() -> None:
    """The perceptron registers its head first; a Sequential's features are the output of all layers but its last."""
    x = IMAGES.images.float() / 255
    own, plain = classifier_of(OWN), classifier_of(ClassifierConfig(width=4))
    assert isinstance(own.network, Perceptron)
    assert isinstance(plain.network, nn.Sequential)
    torch.testing.assert_close(own.features(x), own.network.body(own.normalise(x).flatten(1)).relu())
    torch.testing.assert_close(plain.features(x), plain.network[:-1](plain.normalise(x)).flatten(1))
    features, logits = features_and_logits(own, IMAGES)
    torch.testing.assert_close(logits, predict(own, IMAGES))
    torch.testing.assert_close(own.network.head(features), logits)


def test_a_network_without_a_linear_layer_has_no_features() -> None:
    convolution = Classifier(nn.Sequential(nn.Conv2d(1, 3, 8), nn.Flatten()), torch.zeros(1), torch.ones(1))
    with pytest.raises(UserError, match="Sequential: no linear layer, whose input would be the features"):
        convolution.features(torch.zeros(2, 1, 8, 8))


def test_weights_are_read_back_whatever_the_order_of_the_classes(tmp_path: Path) -> None:
    own = classifier_of(OWN)
    save_classifier(own, tmp_path / "own.safetensors", OWN, IMAGES)
    same = load_classifier(tmp_path / "own.safetensors", OWN, IMAGES)
    other = load_classifier(tmp_path / "own.safetensors", OWN, ImageSet(IMAGES.images, IMAGES.labels, ("c", "a", "b")))
    torch.testing.assert_close(predict(same, IMAGES), predict(own, IMAGES))
    torch.testing.assert_close(predict(other, IMAGES), predict(own, IMAGES)[:, [2, 0, 1]])
