"""Test the networks against parameter counts derived from their published definitions."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lgd.classifiers.architectures import ARCHITECTURES, Classifier, new_classifier
from lgd.classifiers.layers import HalvingPool
from lgd.classifiers.resnet import Block
from lgd.config import ClassifierConfig
from lgd.errors import UserError
from lgd.rng import seeded_initialisation


def built(name: str, shape: tuple[int, int, int], classes: int = 10, width: int = 128) -> Classifier:
    zeros = torch.zeros(shape[0])
    with seeded_initialisation(1):
        return new_classifier(ClassifierConfig(name, width=width), shape, classes, zeros, zeros + 1)


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def conv(inputs: int, outputs: int, kernel: int, bias: bool = False) -> int:
    return inputs * outputs * kernel**2 + bias * outputs


def norm(channels: int) -> int:
    return 2 * channels


def linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def test_convnet6_at_224() -> None:
    """Six blocks of 128 channels halve 224 to 3."""
    expected = conv(3, 128, 3, bias=True) + 5 * conv(128, 128, 3, bias=True) + 6 * norm(128) + linear(128 * 9, 10)
    assert expected == 754_570
    assert parameters(built("convnet", (3, 224, 224))) == expected


def resnet_stages(blocks: int) -> int:
    """Widths 64 to 512, `blocks` a stage, a 1x1 shortcut where the width changes."""
    total, channels = 0, 64
    for width in (64, 128, 256, 512):
        total += conv(channels, width, 3) + conv(width, width, 3) + 2 * norm(width)
        total += conv(channels, width, 1) + norm(width) if channels != width else 0
        total += (blocks - 1) * (2 * conv(width, width, 3) + 2 * norm(width))
        channels = width
    return total


def test_resnetap10() -> None:
    shared = norm(64) + resnet_stages(1) + linear(512, 10)
    assert parameters(built("resnetap10", (3, 224, 224))) == conv(3, 64, 7) + shared
    assert parameters(built("resnetap10", (3, 32, 32))) == conv(3, 64, 3) + shared


def test_resnet18() -> None:
    """With 1000 classes the published 11,689,512: instance norm has as many parameters as batch norm."""
    large = conv(3, 64, 7) + norm(64) + resnet_stages(2) + linear(512, 1000)
    assert large == 11_689_512
    assert parameters(built("resnet18", (3, 224, 224), classes=1000)) == large
    assert parameters(built("resnet18", (3, 32, 32))) == conv(3, 64, 3) + norm(64) + resnet_stages(2) + linear(512, 10)


def test_vgg11_and_alexnet_at_32() -> None:
    """VGG-11 ends at 1 x 1, AlexNet at 4 x 4 pixels."""
    layers = [(3, 64), (64, 128), (128, 256), (256, 256), (256, 512), (512, 512), (512, 512), (512, 512)]
    vgg = sum(conv(i, o, 3, bias=True) + norm(o) for i, o in layers) + linear(512, 10)
    assert parameters(built("vgg11", (3, 32, 32))) == vgg
    kernels = [(3, 128, 5), (128, 192, 5), (192, 256, 3), (256, 192, 3), (192, 192, 3)]
    alexnet = sum(conv(i, o, k, bias=True) + norm(o) for i, o, k in kernels) + linear(192 * 16, 10)
    assert parameters(built("alexnet", (3, 32, 32))) == alexnet


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 64, 64)])
def test_every_network_sees_its_image(name: str, shape: tuple[int, int, int]) -> None:
    """No dead block: logits differ between images, every weight gets a gradient, the head reads `features`."""
    classifier = built(name, shape, classes=4, width=16)
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    logits = classifier(x)
    assert logits.shape == (2, 4)
    assert (logits[0] - logits[1]).abs().max() > 1e-4
    torch.testing.assert_close(classifier.network[-1](classifier.features(x)), logits)
    F.cross_entropy(logits, torch.tensor([0, 1])).backward()
    dead = [k for k, p in classifier.named_parameters() if p.ndim > 1 and (p.grad is None or not p.grad.any())]
    assert not dead


def test_sizes_behind_the_stems() -> None:
    """ResNetAP-10 pools 224 by 4 and ends at 7 x 7; so does ResNet-18 with its strided stem."""
    for name in ("resnetap10", "resnet18"):
        network = built(name, (3, 224, 224)).network
        with torch.no_grad():
            assert network[:-3](torch.zeros(1, 3, 224, 224)).shape == (1, 512, 7, 7)


def test_average_pooling_block_against_its_definition() -> None:
    """conv (stride 1), norm, ReLU, pool 2, conv, norm; the shortcut convolves, pools, then norms."""
    with seeded_initialisation(2):
        block = Block(4, 6, stride=2, pooled=True)
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    main = F.avg_pool2d(F.relu(F.instance_norm(F.conv2d(x, block.conv1.weight, padding=1))), 2)
    main = F.instance_norm(F.conv2d(main, block.conv2.weight, padding=1))
    side = F.instance_norm(F.avg_pool2d(F.conv2d(x, block.shortcut[0].weight), 2))
    torch.testing.assert_close(block(x), F.relu(main + side))


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (2, 3, 7, 4), (1, 1, 2, 3)])
def test_halving_pool_is_torchs(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    assert torch.allclose(HalvingPool()(x), F.avg_pool2d(x, 2), rtol=0, atol=1e-12)
    weights = torch.randn_like(F.avg_pool2d(x, 2))
    (own,) = torch.autograd.grad((HalvingPool()(x) * weights).sum(), x)
    (torchs,) = torch.autograd.grad((F.avg_pool2d(x, 2) * weights).sum(), x)
    assert torch.allclose(own, torchs, rtol=0, atol=1e-12)


def test_unknown_name_lists_the_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lgd.classifiers.architectures.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"'resnet81'; did you mean 'resnet18'\? Known: alexnet.*vit; timm's names"):
        built("resnet81", (1, 8, 8))


def test_timm_where_it_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """timm makes the backbone and lgd the head; a wrong size is an error of one line."""

    def create_model(name: str, pretrained: bool, num_classes: int, in_chans: int) -> nn.Module:
        assert (name, pretrained, num_classes) == ("tiny", False, 0)
        return nn.Sequential(nn.Conv2d(in_chans, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    fake = SimpleNamespace(is_model=lambda name: name == "tiny", create_model=create_model)
    monkeypatch.setitem(sys.modules, "timm", fake)
    monkeypatch.setattr("lgd.classifiers.architectures.find_spec", lambda name: True)
    classifier = built("tiny", (3, 16, 16), classes=7)
    assert classifier(torch.rand(2, 3, 16, 16)).shape == (2, 7)
    assert all(module.training for module in classifier.modules())
    assert classifier.features(torch.rand(2, 3, 16, 16)).shape == (2, 5)
    with pytest.raises(UserError, match=r"timm's tiny does not take images of \(3, 2, 2\): "):
        built("tiny", (3, 2, 2))
    with pytest.raises(UserError, match="unknown architecture 'tinny'"):
        built("tinny", (3, 16, 16))
