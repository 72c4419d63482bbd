"""A source of images is one function and one line: the example of docs/data.md, and every source that is registered."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.experiments.test_auto import QUICK

import lgd
from lgd.cli.main import main
from lgd.config import DatasetConfig
from lgd.data.parts import listing_of
from lgd.data.sources import SOURCES, source_of
from lgd.data.splits import load_splits, survey
from lgd.errors import UserError
from lgd.experiments.auto import is_source

DOCS = Path(__file__).parents[2] / "docs" / "data.md"
N = 24


@pytest.fixture
def npz(tmp_path: Path) -> Iterator[str]:
    """The documented source, registered, and an archive of dark, middle and light images."""
    code = re.search(r"tests/data/test_sources.py.*?```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert code
    exec(code[1], {})
    labels = np.arange(N) % 3
    images = np.random.default_rng(0).integers(0, 60, (N, 12, 12)) + 90 * labels[:, None, None]
    path = tmp_path / "x.npz"
    np.savez(path, images=images.astype(np.uint8), labels=labels, names=["dark", "middle", "light"])
    yield f"npz:{path}"
    del SOURCES["npz"]


def test_the_documented_source_loads_and_distils(npz: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    splits = load_splits(DatasetConfig(source=npz))
    assert (len(splits.train), len(splits.test), splits.train.shape) == (18, 6, (1, 12, 12))
    with np.load(npz.partition(":")[2]) as archive:
        whole = {image.tobytes(): label for image, label in zip(archive["images"], archive["labels"], strict=True)}
    for images in (splits.train, splits.test):
        named = [splits.class_order.index(images.class_names[label]) for label in images.labels]
        assert [whole[image.numpy().tobytes()] for image in images.images] == named
    assert is_source(npz)
    assert main(["distill", npz, "--out", str(tmp_path / "run"), "--dataset.classes", "light", "dark", *QUICK]) == 0
    assert "12 training and 4 test images, 2 classes; read as 12 x 12 grey" in capsys.readouterr().err
    assert lgd.load(tmp_path / "run").class_names == ("light", "dark")
    assert main(["distill", "npz:none.npz", "--out", str(tmp_path / "other")]) == 2
    assert capsys.readouterr().err == "lgd: none.npz: no such file\n"


def test_options_of_the_images_hold_for_pixels_in_memory(npz: str) -> None:
    colour = load_splits(DatasetConfig(source=npz, channels=3))
    grey = load_splits(DatasetConfig(source=npz))
    assert torch.equal(colour.train.images, grey.train.images.expand(-1, 3, -1, -1))
    small = load_splits(DatasetConfig(source=npz, size=6))
    assert small.train.shape == (1, 6, 6)
    means = grey.train.images.float().mean((1, 2, 3))
    assert (small.train.images.float().mean((1, 2, 3)) - means).abs().max() < 3
    with pytest.raises(UserError, match="the images are of 12 x 12 pixels, not 16"):
        load_splits(DatasetConfig(source=npz, size=16))


def test_digits_are_a_source_like_any_other() -> None:
    whole, some = load_splits(DatasetConfig()), load_splits(DatasetConfig(classes=("7", "3")))
    assert (some.train.class_names, some.class_order) == (("3", "7"), ("7", "3"))
    assert torch.equal(some.train.images[some.train.labels == 1], whole.train.images[whole.train.labels == 7])
    assert survey(DatasetConfig()).train == len(whole.train)
    assert survey(DatasetConfig()).dataset.size == 8


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_is_known_by_its_name(name: str) -> None:
    source = SOURCES[name]
    text = f"{name}:x" if source.argument else name
    assert source_of(text) == (source, "x" if source.argument else "")
    assert is_source(text) == bool(source.argument)
    with pytest.raises(UserError, match=r"unknown|needs a path or name"):
        source_of(name if source.argument else f"{name}:x")
    assert source.summary
    assert name in DOCS.read_text()


@pytest.mark.parametrize("label", [-1, 2])
def test_an_image_without_a_class_is_named(label: int) -> None:
    with pytest.raises(UserError, match="x, image 1: no label, or one that is no class"):
        listing_of("x", torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, label]), ("a", "b"))
