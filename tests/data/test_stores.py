"""Images in files behave as images in memory, for every consumer, with bounded memory and without doing work twice."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import torch
from PIL import Image

from lgd.classifiers.architectures import channel_statistics, features_of, predict
from lgd.classifiers.train import train_classifier
from lgd.config import ClassifierConfig, DatasetConfig, TrainingConfig
from lgd.data import cache, stores
from lgd.data.imageset import ImageSet, stratified_split
from lgd.data.splits import load_splits
from lgd.data.stores import AHEAD, EncodedImages, PixelFile
from lgd.errors import UserError

N = 40


def png(array: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


PIXELS = np.random.default_rng(0).integers(0, 256, (N, 8, 8), dtype=np.uint8)


@dataclass(frozen=True)
class InMemory:
    """Encoded images that count how often they are opened."""

    opened: list[int] = field(default_factory=list)

    def open(self, index: int) -> BinaryIO:
        self.opened.append(index)
        return BytesIO(png(PIXELS[index]))

    def name(self, index: int) -> str:
        return f"image {index}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """N images of four classes; the pixels of image i are PIXELS[i], and its class i // 10."""
    for i, array in enumerate(PIXELS):
        path = tmp_path / "images" / f"class {i // 10}" / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(array))
    return tmp_path / "images"


def load(folder: Path, monkeypatch: pytest.MonkeyPatch, kept: bool = True) -> ImageSet:
    monkeypatch.setattr(cache, "LARGEST", 2**30 if kept else 0)
    splits = load_splits(DatasetConfig(source=f"folder:{folder}"))
    return splits.train


KINDS = {True: PixelFile, False: EncodedImages}


@pytest.mark.parametrize("kept", [True, False])
def test_a_set_in_files_is_the_set_in_memory(folder: Path, kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    names = tuple(f"class {k}" for k in range(4))
    whole = ImageSet(torch.from_numpy(PIXELS)[:, None], torch.arange(N) // 10, names)
    memory, _ = stratified_split(whole, 0.25, 0)
    files = load(folder, monkeypatch, kept)
    assert isinstance(files.store, KINDS[kept])
    assert torch.equal(files.labels, memory.labels)
    assert torch.equal(files.images, memory.images)
    assert files.shape == memory.shape
    chosen = torch.tensor([7, 0, 7, 29])
    assert torch.equal(files.pixels(chosen), memory.images[chosen])
    assert torch.equal(files.subset(chosen).subset([3, 1]).images, memory.images[[29, 0]])
    assert torch.equal(torch.cat(list(files.batches(7))), memory.images)
    assert files.pixels(torch.tensor([], dtype=torch.long)).shape == (0, 1, 8, 8)
    for ours, theirs in zip(channel_statistics(files), channel_statistics(memory), strict=True):
        assert torch.equal(ours, theirs)
    config = ClassifierConfig(width=4, training=TrainingConfig(epochs=2, batch_size=16, cutmix=True))
    a, b = (train_classifier(images, config, 3) for images in (files, memory))
    assert all(torch.equal(a.state_dict()[name], b.state_dict()[name]) for name in a.state_dict())
    assert torch.equal(predict(a, files), predict(b, memory))
    assert torch.equal(features_of(a, files), features_of(b, memory))


@pytest.mark.parametrize("kept", [True, False])
def test_images_are_decoded_once_to_be_checked(folder: Path, kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(folder, monkeypatch, kept)
    calls = []
    real = stores.decode

    def counted(*arguments: object) -> np.ndarray:
        calls.append(arguments)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(stores, "decode", counted)
    again = load(folder, monkeypatch, kept)
    assert not calls
    assert torch.equal(again.images, first.images)
    assert bool(calls) != kept


def test_a_changed_file_is_read_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load(folder, monkeypatch)
    path = folder / "class 0" / "00.png"
    place = int((before.images == torch.from_numpy(PIXELS[0])).flatten(1).all(1).nonzero()[0])
    status = path.stat()
    path.write_bytes(png(255 - PIXELS[0]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    after = load(folder, monkeypatch)
    assert torch.equal(after.images[place], 255 - before.images[place])


def test_a_file_that_breaks_later_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = load(folder, monkeypatch, kept=False)
    for path in (folder / "class 1").iterdir():
        path.write_bytes(b"?")
    with pytest.raises(UserError, match=r"class 1/1\d.png: not an image"):
        list(images.batches(64))
    for path in (folder / "class 0").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"class 0/0\d.png: No such file"):
        list(images.batches(4))


def test_a_pixel_file_that_was_cut_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = load(folder, monkeypatch)
    whole = images.images
    assert isinstance(images.store, PixelFile)
    images.store.path.write_bytes(images.store.path.read_bytes()[:-1])
    with pytest.raises(UserError, match="shorter than it was"):
        list(images.batches(16))
    assert torch.equal(load(folder, monkeypatch).images, whole)


@pytest.mark.parametrize("reason", ["read-only", "full"])
def test_without_a_place_for_the_cache_it_works_all_the_same(
    folder: Path, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = load(folder, monkeypatch).images
    (tmp_path / "file").write_text("")
    if reason == "read-only":  # also for root, who may write anywhere
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "below"))
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "new"))
        monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
    images = load(folder, monkeypatch)
    assert isinstance(images.store, EncodedImages)
    assert torch.equal(images.images, expected)


def test_the_cache_forgets_what_was_not_used_for_longest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for age, name in enumerate(("new", "middle", "old")):
        path = tmp_path / f"{name}.pixels"
        path.write_bytes(bytes(10))
        os.utime(path, (1e9 - age, 1e9 - age))
    left = tmp_path / ".x.pixels.123.tmp"
    left.write_bytes(b"")
    os.utime(left, (1e9, 1e9))
    (tmp_path / ".y.pixels.124.tmp").write_bytes(b"")
    monkeypatch.setattr(cache, "EVERYTHING", 25)
    cache.make_room(tmp_path, 10)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".y.pixels.124.tmp", "new.pixels"]


def test_reading_ahead_is_bounded_and_ends_with_its_consumer() -> None:
    files = InMemory()
    images = EncodedImages(torch.arange(N), 1, 8, files)
    stream = images.stream(torch.arange(N).split(4))
    next(stream)
    stores.decoders().submit(lambda: None).result()
    assert len(files.opened) <= (1 + AHEAD) * 4
    stream.close()  # type: ignore[attr-defined]
    settled = len(files.opened)
    threading.Event().wait(0.05)
    assert len(files.opened) <= (1 + AHEAD) * 4
    assert settled < N


def test_waiting_is_counted() -> None:
    before = stores.waiting.seconds
    list(EncodedImages(torch.arange(N), 1, 8, InMemory()).stream([torch.arange(N)]))
    assert stores.waiting.seconds > before
