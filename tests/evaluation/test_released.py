"""Sets as others release them: names of folders, tensors, unknown statistics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lgd.data.imageset import ImageSet, Splits
from lgd.errors import UserError
from lgd.evaluation.released import STATISTICS, read_released
from lgd.export.tensors import NORMALISATION

WNIDS = ("n01440764", "n02102040", "n03000684")
"""tench, English springer, chain saw: ids 0, 217, 491"""


def real(names: tuple[str, ...], order: tuple[str, ...] = (), seed: int = 0) -> Splits:
    draw = torch.Generator().manual_seed(seed)
    images = (torch.rand(30, 3, 6, 6, generator=draw).sqrt() * 255).to(torch.uint8)
    one = ImageSet(images, torch.arange(30) % len(names), tuple(sorted(names)))
    return Splits(one, one, order or tuple(names))


def folders(root: Path, names: tuple[str, ...]) -> Path:
    """Write two images of one grey value for each folder: its position."""
    for value, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for i in range(2):
            Image.fromarray(np.full((6, 6, 3), value, np.uint8)).save(root / name / f"{i}.png")
    return root


def found(splits: Splits, place: Path) -> dict[str, int]:
    """Return the grey value of every class."""
    images = read_released(place, splits)
    names = images.class_names
    return {names[label]: int(image[0, 0, 0]) for image, label in zip(images.images, images.labels, strict=True)}


@pytest.mark.parametrize(
    ("names", "there"),
    [
        (WNIDS, WNIDS),
        (WNIDS, ("tench", "English springer", "chain_saw")),
        (("tench", "english springer", "chainsaw"), WNIDS),
        (WNIDS, ("00000", "00001", "00002")),
        (WNIDS, ("0", "217", "491")),
        (WNIDS, ("00000", "00217", "00491")),
    ],
)
def test_folders_are_found_by_what_they_are_called(
    names: tuple[str, ...], there: tuple[str, ...], tmp_path: Path
) -> None:
    if "chainsaw" in names:
        names = ("tench", "english springer", "chain saw")
    assert found(real(names), folders(tmp_path / "set", there)) == {name: i for i, name in enumerate(names)}


def test_numbers_count_the_classes_as_the_dataset_orders_them(tmp_path: Path) -> None:
    order = ("zebra", "ant", "mole")
    place = folders(tmp_path / "set", ("00000", "00001", "00002"))
    assert found(real(order, order), place) == {"zebra": 0, "ant": 1, "mole": 2}


def test_unknown_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cow: not one of the classes: ant, zebra"):
        read_released(folders(tmp_path / "set", ("cow", "ant")), real(("ant", "zebra")))
    with pytest.raises(UserError, match="not one of the classes: ant, zebra"):
        read_released(folders(tmp_path / "numbers", ("0", "3")), real(("ant", "zebra")))


def forms(images: torch.Tensor, labels: torch.Tensor, root: Path) -> dict[str, Path]:
    """Write pairs as people do."""
    hot = torch.nn.functional.one_hot(labels, 3).float()
    written: dict[str, Any] = {
        "pair": (images, labels),
        "dict": {"images": images, "labels": labels},
        "hot": [images, hot * 8 - 4],
        "column": {"x": images, "y": labels[:, None]},
        "several": {"data": [[images[:1], labels[:1]], [images, labels]]},
        "last": (images.permute(0, 2, 3, 1), labels),
    }
    for name, value in written.items():
        torch.save(value, root / f"{name}.pt")
    (root / "two").mkdir()
    torch.save(images, root / "two" / "images.pt")
    torch.save(labels, root / "two" / "labels.pt")
    return {**{name: root / f"{name}.pt" for name in written}, "two": root / "two"}


def test_pairs_of_tensors(tmp_path: Path) -> None:
    order = ("zebra", "ant", "mole")
    splits = real(order, order)
    images, labels = splits.train.images, torch.arange(30) % 3
    for path in forms(images, labels, tmp_path).values():
        read = read_released(path, splits)
        assert torch.equal(read.images, images)
        assert [read.class_names[label] for label in read.labels] == [order[label] for label in labels]


@pytest.mark.parametrize("name", [*STATISTICS, "the real images'", "DD-Ranking's"])
def test_statistics_are_found_and_undone(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    splits = real(("a", "b", "c"))
    images = splits.train.images[:12]
    x = images / 255
    if name == "the real images'":
        mean, std = x.mean((0, 2, 3)), x.std((0, 2, 3))
        splits = Splits(ImageSet(images, torch.arange(12) % 3, ("a", "b", "c")), splits.test, ("a", "b", "c"))
    else:
        statistics = NORMALISATION["cifar"] if name == "DD-Ranking's" else STATISTICS[name]
        assert statistics is not None
        mean, std = (torch.tensor(values).expand(3) for values in statistics)
    torch.save(((x - mean.view(-1, 1, 1)) / std.view(-1, 1, 1), torch.arange(12) % 3), tmp_path / "set.pt")
    with caplog.at_level("INFO"):
        read = read_released(tmp_path / "set.pt", splits)
    assert torch.equal(read.images, images)
    assert "which are undone" in caplog.text
    if name in STATISTICS:
        assert f"normalised by {name} statistics" in caplog.text


def test_values_without_statistics_get_the_real_moments(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    splits = real(("a", "b", "c"))
    x = splits.test.images / 255
    torch.save((x * 60 - 20, torch.arange(30) % 3), tmp_path / "set.pt")
    with caplog.at_level("INFO"):
        read = read_released(tmp_path / "set.pt", splits)
    assert (read.images.int() - splits.test.images.int()).abs().max() <= 1
    assert "unknown statistics" in caplog.text


@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_images_that_are_not_normalised_stay_as_they_are(scale: float, tmp_path: Path) -> None:
    splits = real(("a", "b", "c"))
    torch.save((splits.test.images / 255 * scale, torch.arange(30) % 3), tmp_path / "set.pt")
    assert torch.equal(read_released(tmp_path / "set.pt", splits).images, splits.test.images)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((torch.zeros(6, 3, 6, 6), torch.zeros(5).long()), "5 labels for 6 images"),
        ((torch.zeros(6, 3, 6, 6), torch.zeros(6, 7)), "labels over 7 classes; the test images have 3"),
        ((torch.zeros(6, 3, 6, 6), torch.tensor([0, 1, 2, 3, 1, 0])), "labels from 0 to 3; the classes are 0 to 2"),
        ((torch.zeros(6, 3, 9, 6), torch.zeros(6).long()), "6 x 9 RGB, but the test images are 6 x 6 RGB"),
        ((torch.full((6, 3, 6, 6), torch.nan), torch.zeros(6).long()), "values that are not finite"),
        (torch.zeros(6, 3, 6, 6), "no pair of images and labels"),
        ({"weights": torch.zeros(3)}, "no pair of images and labels"),
    ],
)
def test_tensors_that_do_not_fit_are_one_line(value: Any, message: str, tmp_path: Path) -> None:
    torch.save(value, tmp_path / "set.pt")
    with pytest.raises(UserError, match=rf"set\.pt: .*{message}"):
        read_released(tmp_path / "set.pt", real(("a", "b", "c")))
