"""Every network at every image size it is used for, and half precision."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lgd.classifiers.architectures import ARCHITECTURES, batch_size_for, new_classifier
from lgd.classifiers.convnet import convnet_depth
from lgd.classifiers.train import train_classifier, training_logits
from lgd.config import ClassifierConfig, TrainingConfig
from lgd.data.imageset import ImageSet


@pytest.mark.parametrize(("size", "depth"), [(8, 2), (16, 2), (28, 3), (32, 3), (64, 4), (128, 5), (224, 6), (256, 6)])
def test_depth_of_a_convnet(size: int, depth: int) -> None:
    assert convnet_depth(size) == depth
    with torch.device("meta"):
        network = new_classifier(ClassifierConfig(), (3, size, size), 10, torch.zeros(3), torch.ones(3)).network
    assert sum(isinstance(layer, nn.Conv2d) for layer in network) == depth


@pytest.mark.parametrize("size", [28, 32, 64, 128, 224])
@pytest.mark.parametrize("name", ["convnet", "resnet8", "resnetap10", "resnet18"])
def test_references_take_every_size(name: str, size: int) -> None:
    """On shapes alone: no weights, no arithmetic."""
    assert name in ARCHITECTURES
    for channels in (1, 3):
        with torch.device("meta"):
            mean, std = torch.zeros(channels), torch.ones(channels)
            classifier = new_classifier(ClassifierConfig(architecture=name), (channels, size, size), 10, mean, std)
            assert classifier(torch.zeros(2, channels, size, size)).shape == (2, 10)


def test_large_images_go_in_small_batches() -> None:
    assert batch_size_for((1, 8, 8)) == 512
    assert batch_size_for((3, 64, 64)) == 256
    assert batch_size_for((3, 224, 224)) == 20
    assert batch_size_for((3, 4000, 4000)) == 1


def two_greys(size: int = 8) -> ImageSet:
    images = torch.cat([torch.full((16, 1, size, size), 60), torch.full((16, 1, size, size), 180)]).to(torch.uint8)
    return ImageSet(images, torch.arange(32) // 16, ("dark", "light"))


def test_half_precision_is_used_and_learns_the_same() -> None:
    config = ClassifierConfig(width=8, training=TrainingConfig(epochs=6, batch_size=8, precision="bfloat16"))
    seen: list[torch.dtype] = []

    def look(epoch: int, classifier: nn.Module) -> None:
        for layer in classifier.network:  # type: ignore[union-attr]
            if isinstance(layer, nn.Conv2d) and not layer._forward_hooks:
                layer.register_forward_hook(lambda _, __, output: seen.append(output.dtype))

    half = train_classifier(two_greys(), config, 0, watch=look)
    assert set(seen) == {torch.bfloat16}
    assert {parameter.dtype for parameter in half.parameters()} == {torch.float32}
    x = half.normalise(two_greys().images.float() / 255)
    low: Tensor = training_logits(half, x, config.training)
    assert low.dtype == torch.float32
    full = training_logits(half, x, TrainingConfig())
    assert not torch.equal(low, full)
    torch.testing.assert_close(low, full, rtol=0.05, atol=0.05)
    assert torch.equal(full.argmax(1), two_greys().labels)
