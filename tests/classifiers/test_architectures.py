"""Test the networks against parameter counts derived from their published definitions."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lgd.classifiers.architectures import ARCHITECTURES, Classifier, new_classifier
from lgd.classifiers.layers import HalvingPool
from lgd.classifiers.resnet import Block
from lgd.classifiers.train import load_classifier, save_classifier
from lgd.config import ClassifierConfig
from lgd.data.imageset import ImageSet, to_bytes
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


def test_resnet8() -> None:
    """He et al.'s 6n + 2 layers with n = 1: widths 16, 32 and 64, one block each, 1x1 shortcuts between them."""
    total, channels = conv(3, 16, 3) + norm(16), 16
    for width in (16, 32, 64):
        total += conv(channels, width, 3) + conv(width, width, 3) + 2 * norm(width)
        total += conv(channels, width, 1) + norm(width) if channels != width else 0
        channels = width
    total += linear(64, 10)
    for size in (32, 96, 224):
        network = built("resnet8", (3, size, size))
        assert parameters(network) == total
    assert sum(isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3) for layer in network.modules()) == 7


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


@pytest.mark.parametrize(("side", "kernel", "left"), [(64, 3, 64), (65, 3, 33), (128, 3, 64), (129, 7, 33)])
def test_stems_of_resnet18(side: int, kernel: int, left: int) -> None:
    """Small to 64 pixels: conv3x3. Middle to 128: that and max-pooling 3/2. Large: conv7x7/2 and max-pooling 3/2."""
    network = built("resnet18", (3, side, side)).network
    assert network[0].weight.shape == (64, 3, kernel, kernel)
    stem = network[: next(k for k, module in enumerate(network) if isinstance(module, Block))]
    x = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    plain = F.conv2d(x, network[0].weight, stride=1 if kernel == 3 else 2, padding=kernel // 2)
    plain = F.relu(F.instance_norm(plain))
    plain = F.max_pool2d(plain, 3, 2, 1) if side > 64 else plain
    torch.testing.assert_close(stem(x), plain)
    assert plain.shape[-1] == left


def test_grey_images_are_padded_by_three_where_it_is_asked_for() -> None:
    """28 pixels become 32: three blocks leave 4 x 4. RGB images keep a padding of one."""
    padded = ClassifierConfig("convnet", width=6, grey_padding=3)
    zeros, x = torch.zeros(1), torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    network = new_classifier(padded, (1, 28, 28), 10, zeros, zeros + 1).network
    assert network[-1].in_features == 6 * 4 * 4
    plain = x
    for k in range(3):
        convolution = network[4 * k]
        plain = F.conv2d(F.pad(plain, (3,) * 4 if k == 0 else (1,) * 4), convolution.weight, convolution.bias)
        plain = F.avg_pool2d(F.relu(F.instance_norm(plain)), 2)
    torch.testing.assert_close(network(x), F.linear(plain.flatten(1), network[-1].weight, network[-1].bias))
    rgb = new_classifier(padded, (3, 28, 28), 10, torch.zeros(3), torch.ones(3)).network
    assert rgb[-1].in_features == 6 * 3 * 3


@pytest.mark.parametrize("name", ["convnet", "resnetap10", "resnet18", "vgg11", "alexnet"])
def test_batch_norm_in_place_of_instance_norm(name: str, tmp_path: Path) -> None:
    """As many weights in the same places; means of the batch in training, kept ones afterwards, also on disk."""
    zeros, config = torch.zeros(3), ClassifierConfig(name, width=8, norm="batch")
    with seeded_initialisation(1):
        classifier = new_classifier(config, (3, 32, 32), 10, zeros, zeros + 1)
    instance = built(name, (3, 32, 32), width=8)
    assert [p.shape for p in classifier.parameters()] == [p.shape for p in instance.parameters()]
    kinds = [type(module) for module in classifier.modules()]
    assert nn.GroupNorm not in kinds
    x = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    first = classifier.network[:2].train()(x)
    torch.testing.assert_close(first.mean((0, 2, 3)), torch.zeros(first.shape[1]), atol=1e-5, rtol=0)
    alone = classifier.eval()(x[:1])
    torch.testing.assert_close(classifier(x)[:1], alone)
    train = ImageSet(to_bytes(x), torch.arange(8) % 10, tuple("abcdefghij"))
    save_classifier(classifier, tmp_path / "c.safetensors", config, train)
    assert torch.equal(load_classifier(tmp_path / "c.safetensors", config, train)(x), classifier(x))
    with pytest.raises(UserError, match="not the weights of this"):
        load_classifier(tmp_path / "c.safetensors", replace(config, norm="instance"), train)


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
    with pytest.raises(UserError, match=r"'resnet81'; did you mean 'resnet8'\? Known: alexnet.*vit; timm's names"):
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
