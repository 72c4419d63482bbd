from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from lgd.classifiers.train import load_classifier, train_classifier
from lgd.config import ClassifierConfig, Config, SurrogateConfig, TrainingConfig, check, with_values
from lgd.data.imageset import ImageSet
from lgd.distillation.methods import SURROGATE
from lgd.distillation.recipe import assets_of
from lgd.distillation.surrogate import load_surrogate, real_images, surrogate_images, train_surrogate
from lgd.errors import UserError
from lgd.experiments.prepare import prepare_asset
from lgd.guidance.influence import class_gradients
from lgd.rng import derive_seed
from lgd.storage.files import read_json, save_tensors

SMALL = SurrogateConfig(
    ClassifierConfig(width=4, training=TrainingConfig(epochs=4, batch_size=8)), checkpoints=3, similarity=1.0, images=5
)


def two_classes() -> ImageSet:
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (20, 1, 8, 8), generator=draw, dtype=torch.uint8)
    return ImageSet(images, torch.arange(20) % 2, ("even", "odd"))


def made(folder: Path, config: SurrogateConfig = SMALL) -> Path:
    train_surrogate(folder, config, two_classes(), "cpu", lambda: None)
    return folder


def test_what_is_loaded_is_what_the_checkpoints_give(tmp_path: Path) -> None:
    folder, train = made(tmp_path / "surrogate"), two_classes()
    surrogate = load_surrogate(folder, SMALL, train, range(1, 2), "cpu")
    assert list(surrogate.class_gradients) == [1]
    assert len(surrogate.class_gradients[1]) == 3
    for k in range(3):
        classifier = load_classifier(folder / f"{k}.safetensors", SMALL.classifier, train)
        expected = class_gradients(classifier, [real_images(train, 1, SMALL)], [1])[0]
        torch.testing.assert_close(surrogate.class_gradients[1][k], expected)
        for name, parameter in classifier.named_parameters():
            torch.testing.assert_close(surrogate.parameters[name][k], parameter)


def test_consecutive_checkpoints_differ_by_more_than_the_threshold(tmp_path: Path) -> None:
    every = load_surrogate(made(tmp_path / "a", replace(SMALL, checkpoints=4)), SMALL, two_classes(), range(2), "cpu")
    cosines = [
        torch.stack([F.cosine_similarity(g[k], g[k - 1], dim=0) for g in every.class_gradients.values()]).mean().item()
        for k in range(1, 4)
    ]
    assert read_json(tmp_path / "a" / "checkpoints.json")["cosines"] == pytest.approx(cosines, abs=1e-5)
    between = replace(SMALL, checkpoints=4, similarity=sorted(cosines)[0] - 1e-3)
    kept = read_json(made(tmp_path / "b", between) / "checkpoints.json")
    assert kept["epochs"][0] == 0
    assert all(cosine < between.similarity for cosine in kept["cosines"])
    assert 1 not in [b - a for a, b in pairwise(kept["epochs"])]


def test_the_first_checkpoint_is_the_untrained_network(tmp_path: Path) -> None:
    """The weights that a training of no length would leave: those of a rate too small to change anything."""
    folder, train = made(tmp_path / "surrogate"), two_classes()
    still = replace(SMALL.classifier, training=TrainingConfig(epochs=1, learning_rate=1e-30, weight_decay=0.0))
    expected = train_classifier(train, still, derive_seed("surrogate", 0))
    first = load_classifier(folder / "0.safetensors", SMALL.classifier, train)
    for name, parameter in first.named_parameters():
        torch.testing.assert_close(parameter, dict(expected.named_parameters())[name], rtol=0, atol=1e-20)
    assert read_json(folder / "checkpoints.json")["epochs"] == [0, 1, 2]


def test_checkpoints_of_listed_epochs(tmp_path: Path) -> None:
    """Those of the same training that keeps every epoch; it ends with the last of them."""
    seen: list[None] = []
    listed = replace(SMALL, epochs=(0, 2, 3), similarity=-1.0, checkpoints=1)
    train_surrogate(tmp_path / "listed", listed, two_classes(), "cpu", lambda: seen.append(None))
    assert read_json(tmp_path / "listed" / "checkpoints.json")["epochs"] == [0, 2, 3]
    assert len(seen) == 3
    every = made(tmp_path / "every", replace(SMALL, checkpoints=4))
    for ours, theirs in enumerate((0, 2, 3)):
        for kind in ("safetensors", "gradients.safetensors"):
            own = (tmp_path / "listed" / f"{ours}.{kind}").read_bytes()
            assert own == (every / f"{theirs}.{kind}").read_bytes()
    with pytest.raises(UserError, match=r"influence\.surrogate\.epochs: 101 is beyond the 100 that it is trained"):
        check(with_values(Config(), {"influence.surrogate.epochs": (0, 101)}))


def test_the_surrogate_sees_images_of_its_own_size(tmp_path: Path) -> None:
    """Its real images are read at 24 pixels where the set has 16; smaller ones are left out of them."""
    for name in ("train", "val"):
        for label in ("a", "b"):
            (tmp_path / name / label).mkdir(parents=True)
            for i in range(3):
                side = 20 if i == 0 else 48
                pixels = np.arange(side * side * 3, dtype=np.uint8).reshape(side, side, 3)
                Image.fromarray(pixels).save(tmp_path / name / label / f"{i}.png")
    plain = with_values(Config(), {"dataset.source": f"folder:{tmp_path}", "dataset.size": 16, "dataset.channels": 3})
    own = surrogate_images(SMALL, plain.dataset)
    assert own.shape == (3, 16, 16)
    larger = surrogate_images(replace(SMALL, image_size=24), plain.dataset)
    assert larger.shape == (3, 24, 24)
    assert [len(larger), len(own)] == [4, 6]


def test_too_few_checkpoints_are_used_as_they_are(tmp_path: Path) -> None:
    config = replace(SMALL, similarity=-1.0)
    folder = made(tmp_path / "surrogate", config)
    assert read_json(folder / "checkpoints.json") == {"epochs": [0], "cosines": []}
    assert len(load_surrogate(folder, config, two_classes(), range(2), "cpu").class_gradients[0]) == 1


def prepared(assets: Path, config: Config) -> Path:
    prepare_asset(SURROGATE, assets_of(config, assets, "cpu"), two_classes())
    return assets / "surrogate"


def test_it_is_made_once_and_refused_to_another_configuration(tmp_path: Path) -> None:
    config = replace(Config(), influence=replace(Config().influence, surrogate=SMALL))
    folder = prepared(tmp_path, config)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert prepared(tmp_path, with_values(config, {"influence.strength": 0.7})) == folder
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    with pytest.raises(UserError, match="images"):
        prepared(tmp_path, with_values(config, {"influence.surrogate.images": 6}))


@pytest.mark.parametrize("name", ["1.safetensors", "2.gradients.safetensors"])
def test_a_corrupt_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    folder = made(tmp_path / "surrogate")
    (folder / name).write_bytes((folder / name).read_bytes()[:-10])
    with pytest.raises(UserError, match=name):
        load_surrogate(folder, SMALL, two_classes(), range(2), "cpu")


def test_gradients_of_another_network_are_refused_by_name(tmp_path: Path) -> None:
    folder = made(tmp_path / "surrogate")
    save_tensors(folder / "0.gradients.safetensors", {"0": torch.zeros(3), "1": torch.zeros(3)})
    with pytest.raises(UserError, match=r"0\.gradients\.safetensors"):
        load_surrogate(folder, SMALL, two_classes(), range(2), "cpu")
    save_tensors(folder / "0.gradients.safetensors", {"0": torch.zeros(3)})
    with pytest.raises(UserError, match=r"0\.gradients\.safetensors"):
        load_surrogate(folder, SMALL, two_classes(), range(2), "cpu")
