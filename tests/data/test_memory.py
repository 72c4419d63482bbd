"""Images that a caller holds in memory: every kind gives the same set, and every mistake is told in one line."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

from lgd.config import DatasetConfig
from lgd.data.arrays import cached_file, write_arrays
from lgd.data.imageset import ImageSet, LabelledImages
from lgd.data.memory import image_set, matched
from lgd.data.splits import load_splits, read_images, survey
from lgd.errors import UserError

N = 12
PIXELS = np.random.default_rng(0).integers(0, 256, (N, 8, 8, 3), dtype=np.uint8)
NUMBERS = np.arange(N) % 3
NAMES = np.array(["cat", "dog", "eel"])[NUMBERS]


class Pairs(torch.utils.data.Dataset[tuple[Image.Image, int]]):
    """A dataset as torchvision's: PIL images, numbers, and `classes`."""

    classes = ("cat", "dog", "eel")

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(PIXELS[index]), int(NUMBERS[index])


def hub() -> Any:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=list(Pairs.classes))})
    images = [Image.fromarray(pixels) for pixels in PIXELS]
    return datasets.Dataset.from_dict({"img": images, "label": NUMBERS.tolist()}, features)


FLOATS = PIXELS / np.float32(255)
TENSOR = torch.from_numpy(PIXELS).permute(0, 3, 1, 2)
GIVEN: dict[str, Any] = {
    "uint8 array and names": lambda: (PIXELS, NAMES),
    "wider integers": lambda: (PIXELS.astype(np.int64), list(NAMES)),
    "floats": lambda: (FLOATS, NAMES),
    "channels first": lambda: (TENSOR, NAMES),
    "float tensor": lambda: (TENSOR / 255, NAMES.tolist()),
    "column of labels": lambda: (PIXELS, NAMES[:, None]),
    "PIL images": lambda: ([Image.fromarray(pixels) for pixels in PIXELS], NAMES),
    "torch dataset": Pairs,
    "datasets": hub,
    "image set": lambda: ImageSet.from_arrays(PIXELS, NUMBERS, Pairs.classes),
    "labelled images": lambda: LabelledImages(ImageSet.from_arrays(PIXELS, NUMBERS, Pairs.classes)),
    "pairs": lambda: list(zip(TENSOR, NAMES, strict=True)),
}


@pytest.mark.parametrize("kind", GIVEN)
def test_every_kind_gives_the_same_set(kind: str) -> None:
    found = image_set(GIVEN[kind]())
    assert found.class_names == Pairs.classes
    assert found.labels.tolist() == NUMBERS.tolist()
    assert np.array_equal(found.images.permute(0, 2, 3, 1).numpy(), PIXELS)
    assert repr(found) == "ImageSet: 12 images of 8 x 8 RGB, 3 classes (cat, dog, eel)"


def test_grey_arrays_need_no_channel() -> None:
    grey = PIXELS[..., 0]
    for images in (grey, grey[..., None], grey[:, None], grey > 127):
        found = ImageSet.from_arrays(images, NUMBERS)
        assert found.shape == (1, 8, 8)
        assert found.class_names == ("0", "1", "2")
    assert found.images.unique().tolist() == [0, 255]
    assert image_set(TensorDataset(torch.from_numpy(grey)[:, None], torch.from_numpy(NUMBERS))).labels[4] == 1


def test_pil_images_of_several_sizes_and_modes_become_one_size() -> None:
    images = [Image.new(mode, (40 + i, 30)) for i, mode in enumerate(("L", "RGB", "RGBA", "P"))]
    assert ImageSet.from_pil(images, [0, 1, 0, 1]).shape == (3, 28, 28)
    assert ImageSet.from_pil(images, [0, 1, 0, 1], size=16).shape == (3, 16, 16)


def test_labels_count_among_the_names_that_are_given() -> None:
    assert ImageSet.from_arrays(PIXELS, NUMBERS + 4).class_names == ("4", "5", "6")
    assert matched(ImageSet.from_arrays(PIXELS, NUMBERS + 4), ("4", "5", "6", "7")).labels.tolist() == NUMBERS.tolist()
    eels = matched(ImageSet.from_arrays(PIXELS[:2], ["eel", "dog"]), Pairs.classes)
    assert eels.labels.tolist() == [2, 1]
    numbers = ImageSet.from_arrays(PIXELS[:2], [2, 1])
    assert matched(numbers, Pairs.classes).labels.tolist() == [2, 1]
    assert matched(numbers, Pairs.classes, ("eel", "dog", "cat")).labels.tolist() == [0, 1]


BAD: dict[str, tuple[Any, Any, str]] = {
    "no labels": (PIXELS, None, "images: an array of shape (12, 8, 8, 3) without labels; give labels="),
    "fewer labels": (PIXELS, NAMES[:3], "labels: of shape (3,) for 12 images; expected one label each, (12,)"),
    "one-hot labels": (PIXELS, np.eye(3)[NUMBERS], "labels: of shape (12, 3) for 12 images; expected one label each"),
    "labels with a fraction": (PIXELS, NUMBERS + 0.5, "labels: float64, such as 0.5; expected whole"),
    "floats of 255": (
        FLOATS * 255,
        NAMES,
        "images: float32 values from 0 to 255; expected floats in [0, 1], or uint8 in 0 to 255; divide by 255",
    ),
    "normalised floats": (FLOATS - 0.5, NAMES, "images: float32 values from -0.5 to 0.5; expected floats in [0, 1],"),
    "not a number": (FLOATS * np.nan, NAMES, "images: float32 values from nan to nan; expected floats in [0, 1]"),
    "integers of 0 and 1": (PIXELS // 255, NAMES, "integers up to 1 would be black: multiply by 255"),
    "integers of 16 bits": (PIXELS.astype(np.int32) * 9, NAMES, "expected uint8 in 0 to 255, or floats in [0, 1]"),
    "flattened": (PIXELS.reshape(N, -1), NAMES, "an array of shape (12, 192); expected (N, H, W), (N, H, W, C) or"),
    "four channels": (np.zeros((N, 8, 8, 4), np.uint8), NAMES, "an array of shape (12, 8, 8, 4); expected (N, H, W),"),
    "text": (np.array(["a"]), ["a"], "images: an array of <U1; expected numbers, all images of one size"),
    "nothing": (PIXELS[:0], [], "images: an empty array"),
    "tensors of two sizes": (
        [torch.zeros(1, 8, 8), torch.zeros(1, 9, 9)],
        [0, 1],
        "images: of shapes (1, 8, 8) and (1, 9, 9); expected one shape, or PIL images",
    ),
    "PIL images of floats": ([Image.new("F", (8, 8))], [0], "a PIL image of mode F; expected eight bits a channel"),
    "no images at all": (3.5, None, "images: float; expected an lgd.ImageSet, a torch Dataset, a split of `datasets`"),
    "splits of datasets": ({"train": 1, "test": 2}, None, "images: a dict of train, test; give one of them"),
    "a dataset without labels": (TENSOR[:2].unbind(), None, "list: its items are no pairs (image, label)"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_told_in_one_line(case: str) -> None:
    images, labels, message = BAD[case]
    images = list(images) if isinstance(images, tuple) else images
    with pytest.raises(UserError) as told:
        image_set(images, labels)
    assert message in str(told.value)
    assert "\n" not in str(told.value)


def test_a_label_beyond_the_names_is_told() -> None:
    with pytest.raises(UserError, match=r"labels: '3' is not one of the 3 classes: cat, dog, eel"):
        ImageSet.from_arrays(PIXELS, NUMBERS + 1, Pairs.classes)
    with pytest.raises(UserError, match="class 'fox' is none of the 3 classes: cat, dog, eel"):
        matched(ImageSet.from_arrays(PIXELS[:2], ["cat", "fox"]), Pairs.classes)
    with pytest.raises(UserError, match="class '1' is none of the 2 classes: 3, 5"):
        matched(ImageSet.from_arrays(PIXELS[:2], [1, 3]), ("3", "5"))


def test_columns_of_datasets_are_found_or_named() -> None:
    assert ImageSet.from_datasets(hub().rename_column("img", "x"), image="x").class_names == Pairs.classes
    with pytest.raises(UserError, match=r"datasets: no image column 'image or img'; it has x, label"):
        ImageSet.from_datasets(hub().rename_column("img", "x"))


def test_images_in_memory_are_a_source_by_their_content() -> None:
    train, test = ImageSet.from_arrays(PIXELS, NAMES), ImageSet.from_arrays(PIXELS[:6], NAMES[:6])
    source = write_arrays(train, test)
    assert source == write_arrays(ImageSet.from_arrays(FLOATS, list(NAMES)), test)
    others = {write_arrays(train), write_arrays(train, train), write_arrays(ImageSet.from_arrays(PIXELS, NUMBERS))}
    assert len(others - {source}) == 3
    splits = load_splits(DatasetConfig(source))
    for found, given in ((splits.train, train), (splits.test, test)):
        assert torch.equal(found.images, given.images)
        assert torch.equal(found.labels, given.labels)
        assert found.class_names == Pairs.classes
    assert survey(DatasetConfig(source)).test == 6
    assert torch.equal(read_images(source, "test").images, test.images)
    cached_file(source.partition(":")[2]).unlink()
    with pytest.raises(UserError, match=r"no such file: .*; call the function again with the same images to write it"):
        load_splits(DatasetConfig(source))


def test_without_a_fraction_all_images_are_for_training() -> None:
    config = DatasetConfig(write_arrays(ImageSet.from_arrays(PIXELS, NAMES)), test_fraction=0.0)
    splits, found = load_splits(config), survey(config)
    assert (len(splits.train), len(splits.test)) == (found.train, found.test) == (N, 0)


def test_an_archive_of_the_user_is_a_source(tmp_path: Path) -> None:
    """MedMNIST's files have these names, labels of shape (N, 1) and a part for validation, which is not read."""
    parts = {f"{part}_{kind}": value for part in ("train", "val", "test") for kind, value in
             (("images", PIXELS[..., 0]), ("labels", NUMBERS[:, None].astype(np.uint8)))}  # fmt: skip
    np.savez(tmp_path / "medmnist.npz", **parts)
    splits = load_splits(DatasetConfig(f"arrays:{tmp_path}/medmnist.npz"))
    assert (len(splits.train), len(splits.test), splits.train.shape) == (N, N, (1, 8, 8))


def pickled() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, train_images=np.array([object()]), train_labels=np.zeros(1))
    return buffer.getvalue()


def archive(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


DAMAGED: dict[str, tuple[bytes, str]] = {
    "not an archive": (b"hello", "not an archive of numbers and text, as np.savez writes it"),
    "cut off": (archive(train_images=PIXELS)[:-60], "not an archive of numbers and text, as np.savez writes it"),
    "objects": (pickled(), "not an archive of numbers"),
    "no labels": (archive(train_images=PIXELS), "no array 'train_labels'; it has train_images"),
    "other names": (archive(x=PIXELS), "no array 'train_images'; it has x"),
    "wrong shape": (archive(train_images=PIXELS[0, 0], train_labels=NUMBERS), "shape (8, 3); expected (N, H, W)"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_archive_is_told(case: str, tmp_path: Path) -> None:
    data, message = DAMAGED[case]
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(UserError) as told:
        load_splits(DatasetConfig(f"arrays:{tmp_path}/x.npz"))
    assert message in str(told.value)
    with pytest.raises(UserError, match="no such file"):
        load_splits(DatasetConfig(f"arrays:{tmp_path}/none.npz"))


def test_a_set_for_a_data_loader() -> None:
    data = LabelledImages(ImageSet.from_arrays(PIXELS, NAMES), transform=lambda image: image.flip(-1))
    assert data.classes == ["cat", "dog", "eel"]
    assert data.class_to_idx == {"cat": 0, "dog": 1, "eel": 2}
    assert data.targets == NUMBERS.tolist()
    images, labels = next(iter(torch.utils.data.DataLoader(data, batch_size=5)))
    assert torch.equal(images, (TENSOR[:5].float() / 255).flip(-1))
    assert labels.tolist() == NUMBERS[:5].tolist()
    assert repr(data).startswith("LabelledImages: 12 images of 8 x 8 RGB, 3 classes (cat, dog, eel); transform <")
    with pytest.raises(IndexError):
        data[N]
