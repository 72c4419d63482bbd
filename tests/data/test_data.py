from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lgd.config import DatasetConfig
from lgd.data.augment import cutmix, random_crop, random_flip
from lgd.data.folder import read_folder
from lgd.data.imageset import ImageSet, concatenate, stratified_split, to_bytes, to_float
from lgd.data.splits import load_splits
from lgd.errors import UserError


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_digits_are_whole_and_split_by_class() -> None:
    splits = load_splits(DatasetConfig())
    assert (len(splits.train), len(splits.test)) == (1347, 450)
    assert splits.train.shape == (1, 8, 8)
    assert splits.train.images.dtype == torch.uint8
    assert int(splits.train.images.max()) == 255
    shares = torch.bincount(splits.test.labels) / (
        torch.bincount(splits.train.labels) + torch.bincount(splits.test.labels)
    )
    assert (shares - 0.25).abs().max() < 0.01
    again = load_splits(DatasetConfig())
    assert torch.equal(again.test.images, splits.test.images)
    other = load_splits(DatasetConfig(split_seed=1))
    assert not torch.equal(other.test.images, splits.test.images)


def test_validation_is_cut_from_the_training_set() -> None:
    plain, tuning = load_splits(DatasetConfig()), load_splits(DatasetConfig(eval_split="validation"))
    assert len(tuning.train) + len(tuning.test) == len(plain.train)
    whole = {image.numpy().tobytes() for image in plain.train.images}
    assert {image.numpy().tobytes() for image in tuning.test.images} <= whole


def test_split_is_a_partition() -> None:
    images = torch.arange(40, dtype=torch.uint8).view(40, 1, 1, 1)
    whole = ImageSet(images, torch.arange(40) % 3, ("a", "b", "c"))
    rest, part = stratified_split(whole, 0.25, 3)
    assert sorted([*rest.images.flatten().tolist(), *part.images.flatten().tolist()]) == list(range(40))
    assert torch.bincount(part.labels).tolist() == [4, 3, 3]


def test_a_class_too_small_to_split_is_named() -> None:
    lonely = ImageSet(torch.zeros(3, 1, 1, 1, dtype=torch.uint8), torch.tensor([0, 0, 1]), ("many", "one"))
    with pytest.raises(UserError, match="class 'one' has 1 images"):
        stratified_split(lonely, 0.5, 0)


def test_unknown_source_lists_the_known() -> None:
    with pytest.raises(UserError, match=r"unknown 'digit'; did you mean 'digits'"):
        load_splits(DatasetConfig(source="digit"))


def test_bytes_survive_the_round_trip() -> None:
    values = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_bytes(to_float(values)), values)
    assert to_bytes(torch.tensor([-0.5, 1.5])).tolist() == [0, 255]


def test_sets_over_other_classes_do_not_join() -> None:
    a = ImageSet(torch.zeros(1, 1, 1, 1), torch.zeros(1).long(), ("a",))
    with pytest.raises(ValueError, match="different classes"):
        concatenate([a, ImageSet(a.images, a.labels, ("b",))])


def test_crops_are_windows_of_the_padded_image() -> None:
    images = torch.rand(50, 2, 5, 7, generator=rng())
    crops = random_crop(images, 2, rng(1))
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2))
    offsets = set()
    for image, crop in zip(padded, crops, strict=True):
        found = [(y, x) for y in range(5) for x in range(5) if torch.equal(image[:, y : y + 5, x : x + 7], crop)]
        assert found
        offsets.add(found[0])
    assert len(offsets) > 12


def test_flip_mirrors_about_half() -> None:
    images = torch.rand(200, 1, 3, 4, generator=rng())
    flipped = random_flip(images, rng(1))
    mirrored = [torch.equal(f, i.flip(-1)) for f, i in zip(flipped, images, strict=True)]
    assert all(m or torch.equal(f, i) for m, f, i in zip(mirrored, flipped, images, strict=True))
    assert 70 < sum(mirrored) < 130


def test_cutmix_pastes_one_box_and_mixes_by_its_area() -> None:
    B = 16
    images = torch.arange(B).float().view(B, 1, 1, 1).expand(B, 1, 8, 8).clone()  # image i is all i
    targets, before = torch.eye(B), images.clone()
    for seed in range(20):
        mixed, soft = cutmix(images, targets, rng(seed))
        assert torch.equal(images, before)
        for i in range(B):
            own = (mixed[i] == i).float().mean()
            assert soft[i].sum() == pytest.approx(1)
            if soft[i, i] < 1:
                other = soft[i].clone()
                other[i] = 0
                assert soft[i, i] == pytest.approx(own.item())
                assert (mixed[i] == other.argmax()).float().mean() == pytest.approx(1 - own.item())


def write(path: Path, mode: str = "L", size: tuple[int, int] = (8, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size).save(path)


def test_folder_round_trip(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    write(tmp_path / "a" / "x.png")
    (tmp_path / "b%2Fc").mkdir()
    Image.fromarray(array).save(tmp_path / "b%2Fc" / "y.png")
    read = read_folder(tmp_path, ("a", "b/c"), (1, 8, 8))
    assert read.labels.tolist() == [0, 1]
    assert torch.equal(read.images[1, 0], torch.from_numpy(array))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: write(root / "zebra" / "x.png"), "zebra: not one of the classes"),
        (lambda root: (root / "b" / "x.png").unlink(), "b: no PNG images of class 'b'"),
        (
            lambda root: write(root / "b" / "y.png", size=(9, 8)),
            r"y.png: 9 x 8 grey, but the test images are 8 x 8 grey",
        ),
        (lambda root: write(root / "b" / "y.png", "RGB"), "y.png: 8 x 8 RGB, but"),
        (lambda root: write(root / "b" / "y.png", "RGBA"), "y.png: mode RGBA"),
        (lambda root: (root / "b" / "y.png").write_bytes(b"no image"), "y.png: corrupt"),
        (lambda root: (root / "b" / "x.png").write_bytes((root / "b" / "x.png").read_bytes()[:40]), "x.png: corrupt"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused_by_its_first_offender(make, message: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for name in "ab":
        write(tmp_path / name / "x.png")
    make(tmp_path)
    with pytest.raises(UserError, match=message):
        read_folder(tmp_path, ("a", "b"), (1, 8, 8))
