"""Folders of images as people have them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lgd.config import DatasetConfig
from lgd.data.imageset import ImageSet, Splits
from lgd.data.splits import cached_splits, load_splits, survey
from lgd.data.tree import scan
from lgd.errors import UserError


def write(path: Path, value: int = 0, size: tuple[int, int] = (12, 12), mode: str = "L") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).convert(mode).save(path)
    return path


def load(root: Path, **options: object) -> Splits:
    return load_splits(DatasetConfig(source=f"folder:{root}", **options))  # type: ignore[arg-type]


def values(images: ImageSet) -> list[tuple[str, int]]:
    """(class, grey value) of every image, in order."""
    grey = images.images[:, 0, 0, 0].tolist()
    return [(images.class_names[label], value) for label, value in zip(images.labels.tolist(), grey, strict=True)]


@pytest.fixture
def divided(tmp_path: Path) -> Path:
    """train/ and test/ of two classes."""
    for i, (part, name) in enumerate((p, n) for p in ("train", "test") for n in ("cat", "dog")):
        for k in range(3):
            write(tmp_path / part / name / f"{k}.png", 10 * i + k)
    return tmp_path


def test_train_and_test_are_read_in_order(divided: Path) -> None:
    splits = load(divided)
    assert values(splits.train) == [("cat", 0), ("cat", 1), ("cat", 2), ("dog", 10), ("dog", 11), ("dog", 12)]
    assert values(splits.test) == [("cat", 20), ("cat", 21), ("cat", 22), ("dog", 30), ("dog", 31), ("dog", 32)]
    assert splits.train.shape == (1, 12, 12)


@pytest.mark.parametrize("name", ["val", "validation", "valid"])
def test_other_names_of_the_judging_part(divided: Path, name: str) -> None:
    (divided / "test").rename(divided / name)
    (divided / "test").mkdir()  # ImageNet's, without labels
    write(divided / "test" / "unlabelled.png")
    assert values(load(divided).test)[0] == ("cat", 20)


def test_two_folders_in_two_places(divided: Path) -> None:
    splits = load_splits(DatasetConfig(source=f"folder:{divided / 'train'},{divided / 'test'}"))
    assert values(splits.test) == values(load(divided).test)


def test_one_folder_is_split_by_class_and_seed(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for k in range(8):
            write(tmp_path / name / f"{k}.png", k)
    splits = load(tmp_path)
    assert splits.test.labels.bincount().tolist() == [2, 2]
    assert sorted(values(splits.train) + values(splits.test)) == [(c, k) for c in ("cat", "dog") for k in range(8)]
    assert values(load(tmp_path).test) == values(splits.test)
    assert values(load(tmp_path, split_seed=1).test) != values(splits.test)
    found = survey(DatasetConfig(source=f"folder:{tmp_path}"))
    assert (found.train, found.test, found.smallest) == (len(splits.train), len(splits.test), 6)


def test_classes_are_chosen_and_ordered(divided: Path, tmp_path: Path) -> None:
    for part in ("train", "test"):
        write(divided / part / "emu" / "0.png", 99)
    splits = load(divided, classes=("emu", "cat"))
    assert splits.class_order == ("emu", "cat")
    assert values(splits.train) == [("cat", 0), ("cat", 1), ("cat", 2), ("emu", 99)]
    listed = tmp_path / "list.txt"
    listed.write_text("# two of three\nemu\n\n  cat  \n")
    assert values(load(divided, classes=(str(listed),)).test) == values(splits.test)


def test_the_lists_that_come_with_the_package(tmp_path: Path) -> None:
    # The published numbering: position in this order.
    woof = (
        *("n02096294", "n02093754", "n02111889", "n02088364", "n02086240"),
        *("n02089973", "n02087394", "n02115641", "n02099601", "n02105641"),
    )
    nette = (
        *("n01440764", "n02102040", "n02979186", "n03000684", "n03028079"),
        *("n03394916", "n03417042", "n03425413", "n03445777", "n03888257"),
    )
    for name in [*woof, *nette, "n00000001"]:
        for k in range(2):
            write(tmp_path / name / f"{k}.png")
    assert load(tmp_path, classes=("imagewoof",)).class_order == woof
    assert load(tmp_path, classes=("imagenette",)).class_order == nette


def test_mixed_modes_and_sizes_need_no_configuration(tmp_path: Path) -> None:
    for i, (mode, kind) in enumerate([("L", "png"), ("RGB", "jpg"), ("RGBA", "png"), ("CMYK", "jpg"), ("P", "gif")]):
        for name in ("cat", "dog"):
            write(tmp_path / name / f"{i}.{kind}", 120, (70 + i, 45 + 3 * i), mode)
    splits = load(tmp_path)
    assert splits.train.shape == (3, 32, 32)
    assert (splits.train.images.float() - 120).abs().max() < 12


def test_large_images_are_taken_at_32_pixels_and_odd_ones_at_a_multiple_of_4(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for k in range(2):
            write(tmp_path / "a" / name / f"{k}.png", size=(90, 300))
            write(tmp_path / "b" / name / f"{k}.png", size=(29, 29))
    assert load(tmp_path / "a").train.shape == (1, 32, 32)
    assert load(tmp_path / "a", size=90, channels=3).train.shape == (3, 90, 90)
    assert load(tmp_path / "b").train.shape == (1, 28, 28)


def test_odd_names_are_only_names(divided: Path) -> None:
    cats = divided / "train" / "cat"
    for name in ("0..png", "-rf.png", "a\nb.png", "\u202ezz.png", " .png", "%s%n.png", "x" * 200 + ".PNG"):
        write(cats / "odd" / name, 7)
    write(cats / "raw.png", 8).rename(os.fsdecode(os.fsencode(cats) + b"/\xff\xfe.png"))
    (cats / ".hidden.png").write_bytes(b"no image")
    (cats / "notes.txt").write_bytes(b"no image")
    (divided / "train" / ".cache").mkdir()
    (divided / "README.md").write_text("")
    os.mkfifo(cats / "pipe.png")
    found = values(load(divided).train)
    assert [value for name, value in found if name == "cat"].count(7) == 7
    assert ("cat", 8) in found
    assert len(found) == 6 + 8


def test_links_are_followed_inside_the_folder_only(divided: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = write(tmp_path_factory.mktemp("outside") / "secret.png", 200)
    cats = divided / "train" / "cat"
    (cats / "inside.png").symlink_to("../dog/0.png")
    (cats / "outside.png").symlink_to(outside)
    (cats / "dangling.png").symlink_to("nowhere.png")
    (cats / "loop").symlink_to("..")
    (cats / "away").symlink_to(outside.parent)
    found = values(load(divided).train)
    assert found.count(("cat", 10)) == 1
    assert not [value for _, value in found if value == 200]
    assert len(found) == 7
    files, links = scan(divided / "train", {"cat": "cat"}).notes
    assert files.endswith("files left out: 1 (1 not regular)")
    assert "symbolic links that are not followed: 3 (first:" in links


def test_a_tree_deeper_than_python_s_stack(tmp_path: Path) -> None:
    write(tmp_path / "cat" / "0.png")
    write(tmp_path / "dog" / "0.png")
    here = os.open(tmp_path / "dog", os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    try:
        assert scan(tmp_path, {"cat": "cat", "dog": "dog"}).counts == (1, 1)
    finally:
        subprocess.run(["rm", "-r", tmp_path / "dog" / "d"], check=True)  # pytest would try it by recursion


def link_class(root: Path) -> None:
    (root / "train" / "cat").rename(root / "cat")
    (root / "train" / "cat").symlink_to(root / "cat")


def link_part(root: Path) -> None:
    (root / "test").rename(root / "elsewhere")
    (root / "test").symlink_to(root / "elsewhere")


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda r: shutil.rmtree(r / "train"), {}, "needs at least two|only the class 'test'"),
        (lambda r: shutil.rmtree(r) or r.mkdir(), {}, "no class folders in it"),
        (lambda r: empty(r / "train" / "dog"), {}, "train/dog: no images of class 'dog'"),
        (lambda r: shutil.rmtree(r / "test" / "dog"), {}, "test: no class 'dog', unlike .*train"),
        (lambda r: write(r / "test" / "emu" / "0.png"), {}, "train: no class 'emu', unlike .*test"),
        (
            lambda r: write(r / "train" / "cat" / "9.png", size=(7, 9)),
            {},
            r"1 of 13 images is smaller than 12 x 12 pixels: .*cat/9.png \(7 x 9\)\. --dataset.size 12 --skip-broken",
        ),
        (
            lambda r: None,
            {"size": 13},
            r"6 of 6 images cannot be used: .*12 x 12 pixels, smaller .*; and 3 more. --skip-b",
        ),
        (lambda r: (r / "train" / "cat" / "1.png").write_bytes(b"?"), {}, "1 of 6 images .*cat/1.png: not an image"),
        (lambda r: (r / "test" / "dog" / "1.png").write_bytes(b"?"), {}, "test: 1 of 6 .*dog/1.png: .*--skip-broken"),
        (lambda r: None, {"classes": ("cat", "dgo")}, "no class 'dgo'; did you mean 'dog'"),
        (lambda r: None, {"classes": ("cat", "dog", "cat")}, "'cat' comes twice"),
        (
            lambda r: None,
            {"classes": ("cat",)},
            "one entry names a list .cifar10, cifar100, imagenette, imagewoof. or a file",
        ),
        (lambda r: (r / "l.txt").write_text("cat"), {"classes": ("LIST",)}, "only the class 'cat'; it takes two"),
        (lambda r: (r / "l.txt").write_bytes(b"\xff"), {"classes": ("LIST",)}, "l.txt: corrupt, not text"),
        (lambda r: Path(os.fsdecode(os.fsencode(r / "train") + b"/\xff")).mkdir(), {}, "not UTF-8; rename it"),
        (link_class, {}, "no images of class 'cat': the symbolic link .*cat leads out"),
        (link_part, {}, "test is a symbolic link; give where it leads"),
        (lambda r: None, {"source": ""}, "dataset.source is empty; say where the images are"),
        (lambda r: None, {"source": "folder:"}, "needs a path or name after the colon"),
        (lambda r: None, {"source": "folder:/nowhere"}, "/nowhere: No such file"),
        (lambda r: None, {"source": "folder:a,b,c"}, "names 3 paths; TRAIN,TEST are two"),
        (lambda r: None, {"source": "floder:a"}, "unknown 'floder:a'; did you mean 'folder:"),
    ],
)
def test_what_does_not_fit_is_named(change, options: dict, message: str, divided: Path) -> None:  # type: ignore[no-untyped-def]
    change(divided)
    if options.get("classes") == ("LIST",):
        options = {"classes": (str(divided / "l.txt"),)}
    with pytest.raises(UserError, match=message) as caught:
        load_splits(DatasetConfig(**{"source": f"folder:{divided}", **options}))
    assert "\n" not in str(caught.value)


def test_broken_images_are_left_out_on_request(divided: Path, caplog: pytest.LogCaptureFixture) -> None:
    for k in range(5):
        (divided / "train" / "cat" / f"b{k}.png").write_bytes(b"?")
    splits = load_splits(DatasetConfig(source=f"folder:{divided}", skip_broken=True))
    assert len(splits.train) == 6
    told = caplog.text
    assert "5 of 11 images cannot be used" in told
    assert told.count("not an image") == 3
    assert "They are left out" in told
    for path in (divided / "train" / "dog").iterdir():
        path.write_bytes(np.random.default_rng(0).bytes(50))
    with pytest.raises(UserError, match="no image of class 'dog' can be used"):
        load_splits(DatasetConfig(source=f"folder:{divided}", skip_broken=True))


def test_a_relative_path_is_that_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = DatasetConfig(source="folder:PHOTOS", size=8, channels=1)
    for place, grey in (("here", 10), ("there", 200)):
        for name, i in ((name, i) for name in ("cat", "dog") for i in range(8)):
            path = tmp_path / place / "PHOTOS" / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), grey + i).save(path)
        monkeypatch.chdir(tmp_path / place)
        assert grey <= int(cached_splits(config).train.images[0].min()) < grey + 8
