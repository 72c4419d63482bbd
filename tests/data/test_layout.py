"""Folders are parts of a set in any spelling, or classes; what may be either is refused with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.drawn import folder, load, put, sizes

from lgd.data.part_names import part_among, part_of
from lgd.errors import UserError

PETS = ("cat", "dog")


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Train", "Test"),
        ("Training", "Testing"),
        ("TRAIN", "VALID"),
        ("train2017", "val2017"),
        ("train_set", "test_set"),
        ("trainImages", "testImages"),
        ("Trainingsdaten", "Testdaten"),
        ("entraînement", "validation"),
        ("訓練データ", "テストデータ"),
        ("обучающая выборка", "тестовая выборка"),
        ("trn", "held-out"),
        # one folder alone in another is looked through, and words that all folders share say nothing
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("images/train", "images/val"),
        ("archive/data/Training", "archive/data/Testing"),
        ("birds-train/images", "birds-valid/images"),
    ],
)
def test_parts_by_their_names_and_places(train: str, test: str, tmp_path: Path) -> None:
    folder(tmp_path / train, PETS, 5)
    folder(tmp_path / test, PETS, 3)
    splits = load(tmp_path)
    assert sizes(splits) == (10, 6, PETS)


def test_shared_words_make_no_parts_of_classes(tmp_path: Path) -> None:
    for names in (("steam engine", "steam train"), ("test paper", "test tube")):
        root = folder(tmp_path / names[0], names)
        assert load(root).train.class_names == names


@pytest.mark.parametrize("name", ["bus", "trains", "data", "images", "testimonials", "retrained", "training yard"])
def test_other_words_are_no_parts(name: str) -> None:
    assert part_of(name) is None


def test_a_part_s_name_among_other_words() -> None:
    assert part_among("cifar10-train-00000-of-00002") == "train"
    assert part_among("PublicTest") == "test"
    assert part_among("train_and_test") is None
    assert part_among("part-00000-4b7e-tid.c000.snappy") is None


def test_the_part_that_is_not_read_is_mentioned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for part, count in (("train", 4), ("val", 3), ("test", 2)):
        folder(tmp_path / part, PETS, count)
    put(tmp_path / "extra" / "x.png")
    put(tmp_path / "preview.png")
    assert sizes(load(tmp_path)) == (8, 4, PETS)
    assert "train and test are read; left out: val, extra" in caplog.text
    assert "files left out: 1 (1 beside the folders)" in caplog.text


def test_a_test_part_without_classes_is_mentioned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder(tmp_path / "train", PETS)
    put(tmp_path / "test" / "unlabelled.png")
    assert sizes(load(tmp_path)) == (6, 2, PETS)
    assert "train is read; left out: test (no class folders)" in caplog.text


@pytest.mark.parametrize("names", [("bus", "car", "train"), ("exam", "test", "train"), ("Training", "run", "walk")])
def test_a_class_may_be_called_as_a_part_is(names: tuple[str, ...], tmp_path: Path) -> None:
    assert sizes(load(folder(tmp_path, names))) == (9, 3, tuple(sorted(names)))


def test_a_class_called_train_may_hold_folders_beside_its_images(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder(tmp_path, ("bus", "train"))
    put(tmp_path / "train" / "steam" / "0.png")
    assert load(tmp_path).train.class_names == ("bus", "train")
    assert "'train' is read as a class, beside bus" in caplog.text


def test_a_class_called_train_is_one_where_it_is_asked_for(tmp_path: Path) -> None:
    folder(tmp_path, ("bus", "car"))
    folder(tmp_path / "train", ("electric", "steam"))
    with pytest.raises(UserError, match=r"'train' is a training part .* electric and steam, or a class beside bus"):
        load(tmp_path)
    assert load(tmp_path, classes=("bus", "car", "train")).train.class_names == ("bus", "car", "train")
    assert load(tmp_path / "train").train.class_names == ("electric", "steam")


def only_parts(root: Path) -> None:
    put(root / "train" / "0.png")
    put(root / "test" / "0.png")


def two_training_parts(root: Path) -> None:
    for part in ("train2014", "train2017", "val2017"):
        folder(root / part, PETS)


def unknown_language(root: Path) -> None:
    for part in ("amaishmarthaka", "pariksha"):
        folder(root / part, PETS)


def classes_outermost(root: Path) -> None:
    for name in PETS:
        folder(root / name, ("train", "test"))


def wrapped(root: Path) -> None:
    folder(root / "PetImages", PETS)


def validation_without_classes(root: Path) -> None:
    folder(root / "train", PETS)
    put(root / "val" / "images" / "0.png")


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (
            only_parts,
            r"train: no class folders in it; .*--dataset.classes test train reads these folders as the classes",
        ),
        (
            two_training_parts,
            r"train2014 and train2017 are training parts by their names; give the parts",
        ),
        (unknown_language, r"amaishmarthaka and pariksha all hold the folders cat and dog, as parts of a set do"),
        (classes_outermost, r"cat and dog each hold the parts test and train; parts are expected outermost"),
        (wrapped, r"only the class 'PetImages'; .*cat and dog in it are the classes: folder:.*PetImages"),
        (validation_without_classes, r"val: its folders \(images\) are none of the classes in .*train; folder:.*train"),
    ],
)
def test_what_may_be_either_is_refused_with_the_reason(draw, message: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    draw(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_folders_that_look_like_parts_are_classes_where_they_are_asked_for(tmp_path: Path) -> None:
    unknown_language(tmp_path)
    assert sizes(load(tmp_path, classes=("pariksha", "amaishmarthaka")))[:2] == (12, 4)
    for name in PETS:
        folder(tmp_path / "years" / name, ("2019",))
    assert load(tmp_path / "years").train.class_names == PETS  # one folder in common, as Tiny ImageNet has
