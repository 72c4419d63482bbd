"""Alignment of tokens with a classifier's feature maps: the loss against loops, training, and exact resume."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.diffusion.test_training import SCHEDULE, SMALL, image_set
from torch import Tensor
from torch.nn import functional as F

from lgd import distill
from lgd.classifiers.architectures import Classifier, new_classifier
from lgd.classifiers.feature_map import feature_map, map_shape
from lgd.cli.main import main
from lgd.config import ClassifierConfig, Config, DatasetConfig, GeneratorConfig, with_values
from lgd.data.imageset import ImageSet, to_float
from lgd.diffusion.alignment import Alignment
from lgd.diffusion.autoencoder import Shape
from lgd.diffusion.checkpoint import load_checkpoint, save_checkpoint
from lgd.diffusion.families.dit import new_denoiser
from lgd.diffusion.latents import Encoder, LatentSource, PixelSource
from lgd.diffusion.train import Training, begin, train
from lgd.diffusion.train_generator import GeneratorTraining, feature_maps, make_generator
from lgd.errors import UserError
from lgd.experiments.resolve import with_alignment
from lgd.storage.files import read_json, read_json_lines

ALIGNED = replace(SMALL, blocks=4, align=0.5)
CONVNET = ClassifierConfig(width=6)


def network(config: ClassifierConfig, shape: Shape = (1, 8, 8), weights: int = 0) -> Classifier:
    torch.manual_seed(weights)
    mean, std = torch.full(shape[:1], 0.4), torch.full(shape[:1], 0.3)
    return new_classifier(config, shape, 3, mean, std).eval()


def encoder(weights: int = 0) -> Encoder:
    """Maps of a ConvNet of random weights: 2 x 2 places for 4 x 4 tokens."""
    classifier = network(CONVNET, weights=weights)

    def encode(images: Tensor) -> Tensor:
        with torch.no_grad():
            return feature_map(classifier, images)

    return Encoder(encode, map_shape(CONVNET, (1, 8, 8), 3), {"weights": weights})


def training_of(config: GeneratorConfig = ALIGNED) -> GeneratorTraining:
    return GeneratorTraining(config, DatasetConfig(), image_set(), "cpu", encoder())


def begun(training: GeneratorTraining, folder: Path, precision: str = "float32") -> Training:
    config, images = replace(training.config, precision=precision), training.images  # type: ignore[arg-type]
    return begin(new_denoiser(config, images.shape, 3), config, len(images), maps=feature_maps(training, folder))


@pytest.mark.parametrize(
    ("architecture", "shape", "layers"),
    [
        ("convnet", (1, 8, 8), -2),
        ("convnet", (3, 32, 32), -2),
        ("resnet8", (3, 32, 32), -3),
        ("vgg11", (3, 32, 32), None),
    ],
)
def test_the_map_is_the_last_one_with_several_places(architecture: str, shape: Shape, layers: int | None) -> None:
    config = ClassifierConfig(architecture=architecture, width=6)
    classifier, images = network(config, shape), torch.rand(2, *shape)
    found = feature_map(classifier, images)
    assert tuple(found.shape[1:]) == map_shape(config, shape, 3)
    assert found.shape[-1] > 1
    if layers is not None:
        parts = classifier.network[:layers]
        torch.testing.assert_close(found, parts(classifier.normalise(images)))


@pytest.mark.parametrize(
    ("values", "weight"),
    [
        ({}, 0.5),
        ({"generator.align": 0.1}, 0.1),
        ({"reference.architecture": "vit"}, 0.0),
        ({"generator.source": "pretrained:SD", "generator.tune": "lora"}, 0.0),
    ],
)
def test_auto_aligns_where_it_can(values: dict[str, object], weight: float) -> None:
    """A network without maps, and the tuning of a published one, are not aligned unless somebody asks."""
    config = with_values(Config(), {"generator.align": "auto", **values})
    pixels = torch.zeros(3, 3, 32, 32, dtype=torch.uint8)
    resolved = with_alignment(config, ImageSet(pixels, torch.arange(3), ("a", "b", "c")))
    assert resolved == with_values(config, {"generator.align": weight})


def test_a_reference_without_maps_is_refused() -> None:
    with pytest.raises(UserError, match=r"generator\.align: the reference ends without a feature map"):
        map_shape(ClassifierConfig(architecture="vit"), (3, 32, 32), 3)


@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_the_loss_is_that_of_loops_over_images_and_tokens(precision: str, tmp_path: Path) -> None:
    """For the network as diffusers computes it, and packed."""
    training = training_of()
    state = begun(training, tmp_path, precision)
    assert (state.packed is not None) == (precision == "auto")
    tokens: list[Tensor] = []
    state.denoiser.transformer_blocks[1].register_forward_hook(lambda block, inputs, output: tokens.append(output))
    positions, flipped = torch.tensor([7, 0, 12]), torch.tensor([False, True, False])
    x, t, y = torch.randn(3, 1, 8, 8), torch.tensor([5, 300, 900]), torch.tensor([0, 1, 3])
    state.denoiser(x, timestep=t, class_labels=y)
    if state.packed is not None:
        state.packed(x, t, y)
    assert state.alignment is not None
    found = state.alignment.loss(positions, flipped)

    classifier, pixels = network(CONVNET), to_float(training.images.images)
    both = torch.stack([classifier.network[:-2](classifier.normalise(z)) for z in (pixels, pixels.flip(-1))]).detach()
    losses = []
    for image, (position, mirrored) in enumerate(zip(positions.tolist(), flipped.tolist(), strict=True)):
        for token in range(16):
            row, column = token // 4, token % 4
            features = both[int(mirrored), position, :, row // 2, column // 2]
            mean, std = both.mean((0, 1, 3, 4)), both.std((0, 1, 3, 4), unbiased=False)
            projected = state.alignment.project(tokens[0][image, token])
            losses.append(1 - F.cosine_similarity(projected, (features - mean) / std, dim=0))
    torch.testing.assert_close(found, 0.5 * torch.stack(losses).mean(), rtol=2e-3, atol=1e-4)  # maps are float16


def test_it_trains_the_first_half_of_the_blocks_alone(tmp_path: Path) -> None:
    state = begun(training_of(), tmp_path)
    for block in state.denoiser.transformer_blocks:  # new ones pass their input on
        torch.nn.init.normal_(block.norm1.linear.weight)
    state.denoiser(torch.randn(2, 1, 8, 8), timestep=torch.tensor([5, 300]), class_labels=torch.tensor([0, 1]))
    assert state.alignment is not None
    state.alignment.loss(torch.tensor([3, 4]), None).backward()
    reached = [block.ff.net[2].weight.grad is not None for block in state.denoiser.transformer_blocks]
    assert reached == [True, True, False, False]


@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_training_lowers_it_and_resumes_to_the_bit(precision: str, tmp_path: Path) -> None:
    training = training_of(replace(ALIGNED, steps=60, learning_rate=1e-2))
    own, images, path = training.config, training.images, tmp_path / "checkpoint.safetensors"

    def end(state: Training) -> dict[str, Tensor]:
        for progress in train(state, PixelSource(images), images.labels, SCHEDULE, own):
            if progress.step == 7 and not path.exists():
                save_checkpoint(path, state)
        assert state.alignment is not None
        return {**state.denoiser.state_dict(), **state.alignment.state_dict()}

    state = begun(training, tmp_path, precision)
    assert state.alignment is not None
    before = deepcopy(state.alignment.state_dict())
    whole = end(state)
    assert not torch.equal(before["project.0.weight"], whole["project.0.weight"])
    again = begun(training, tmp_path, precision)
    load_checkpoint(path, again)
    assert all(map(torch.equal, whole.values(), end(again).values()))
    assert again.losses == state.losses
    everything = torch.arange(len(images))
    losses = []
    for one in (begun(training, tmp_path), state):
        x = SCHEDULE.add_noise(PixelSource(images).latents(images.images, None), torch.zeros(20, 1, 8, 8), everything)
        with torch.no_grad():
            one.denoiser(x, timestep=everything, class_labels=images.labels)
            if one.packed is not None:
                one.packed(x, everything, images.labels)
            assert one.alignment is not None
            losses.append(float(one.alignment.loss(everything, None)))
    assert losses[1] < 0.8 * losses[0]


def test_an_aligned_generator_is_another_and_leaves_no_maps(tmp_path: Path) -> None:
    training = training_of()
    make_generator(training, tmp_path / "aligned")
    make_generator(replace(training, config=replace(ALIGNED, align=0.0)), tmp_path / "plain")
    losses = [read_json_lines(tmp_path / name / "training.jsonl")[-1]["loss"] for name in ("aligned", "plain")]
    assert losses[0] > losses[1]
    assert not list(tmp_path.glob("*/latents"))


def test_maps_of_another_classifier_are_made_anew(tmp_path: Path) -> None:
    training = training_of()
    first = np.array(feature_maps(training, tmp_path).array)
    assert first.shape == (2, 20, 6, 2, 2)
    assert not np.allclose(first, feature_maps(replace(training, maps=encoder(1)), tmp_path).array)


def test_the_commands_train_the_reference_first(tiny: Config, tmp_path: Path) -> None:
    """A run with two workers, which would train it beside the generator, and a generator alone."""
    values = {"generator.align": 0.5, "stages.increments": 1, "evaluation.redundancy_seeds": 0, "compute.workers": 2}
    run = distill(with_values(tiny, values), tmp_path / "run").root
    assert (run / "generator" / "done").exists()
    train_one = ["generator", "train", "digits", "--generator.steps", "3", "--generator.align", "0.5", "--quiet"]
    small = ["--reference.training.epochs", "1", "--generator.blocks", "2", "--out", str(tmp_path / "generator")]
    assert main([*train_one, *small]) == 0
    assert (tmp_path / "generator" / "reference.safetensors").exists()
    assert read_json(tmp_path / "generator" / "config.json")["reference"]["training"]["epochs"] == 1
    assert main([*train_one, *small]) == 0  # done already


def test_an_image_set_of_one_map_place_per_token_needs_no_pooling() -> None:
    array = np.random.default_rng(0).normal(size=(1, 2, 3, 4, 4)).astype(np.float16)
    mean, std = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([1.0, 2.0, 3.0])
    alignment = Alignment(LatentSource(array, mean, std), new_denoiser(ALIGNED, (1, 8, 8), 3), None, 1.0, 0)
    wanted = alignment.wanted(torch.tensor([1]), None, 16)
    expected = (torch.from_numpy(array[0, 1]).float() - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)
    torch.testing.assert_close(wanted[0].T.reshape(3, 4, 4), expected)
