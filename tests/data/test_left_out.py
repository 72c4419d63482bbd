"""Files that are not read are counted and named by kind; files of usual kinds are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.drawn import folder, load, picture, put, sizes

from lgd.config import DatasetConfig
from lgd.data.splits import survey
from lgd.errors import UserError
from lgd.experiments.auto import load_config


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [
        ("jfif", "JPEG"),
        ("avif", "AVIF"),
        ("JPE", "JPEG"),
        ("pjpeg", "JPEG"),
        ("dib", "BMP"),
        ("apng", "PNG"),
        ("pnm", "PPM"),
    ],
)
def test_images_by_other_suffixes_are_read(suffix: str, kind: str, tmp_path: Path) -> None:
    folder(tmp_path, ("a", "b"))
    picture(9).save(tmp_path / "a" / f"x.{suffix}", kind)
    splits = load(tmp_path, test_fraction=0.2)
    assert len(splits.train) + len(splits.test) == 9
    plain = picture(9)
    if kind not in ("JPEG", "AVIF"):
        wanted = np.asarray(plain).transpose(2, 0, 1)
        pictures = [*splits.train.images.numpy(), *splits.test.images.numpy()]
        assert any(np.array_equal(one, wanted) for one in pictures)


def clutter(root: Path) -> None:
    """What computers, drives and people leave beside images."""
    for name in ("notes.txt", "labels.TXT", "x.heic", "no suffix", ".DS_Store", "._0.png"):
        (root / "a" / name).write_bytes(b"?")
    for place in (
        "a/@eaDir/0.png/SYNOPHOTO_THUMB_M.jpg",
        "a/@eaDir/1.png/x.jpg",
        "b/#recycle/old.png",
        "b/@__thumb/s.jpg",
    ):
        put(root / place)
    put(root / "__MACOSX" / "a" / "0.png")
    put(root / ".thumbnails" / "0.png")
    put(root / "cover.png")


def test_files_left_out_are_counted_by_kind(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder(tmp_path, ("a", "b"))
    expected = load(tmp_path)
    caplog.clear()
    clutter(tmp_path)
    splits = load(tmp_path)
    assert splits.train.digest() == expected.train.digest()
    told = [message for message in caplog.messages if "left out" in message]
    assert len(told) == 1
    for part in (
        "3 hidden",
        "2 .txt",
        "2 in @eaDir",
        "1 .heic",
        "1 without a suffix",
        "1 in #recycle",
        "1 in @__thumb",
    ):
        assert part in told[0]
    assert "files left out: 13 (" in told[0]
    assert "1 in __MACOSX" in told[0]
    assert "1 beside the folders" in told[0]


def test_a_survey_tells_and_the_reading_after_it_does_not_repeat_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clutter(folder(tmp_path, ("a", "b")))
    config = load_config(f"folder:{tmp_path}")
    assert caplog.text.count("left out") == 1
    load(f"folder:{tmp_path}", size=config.dataset.size)
    assert caplog.text.count("left out") == 1
    load(f"folder:{tmp_path}", size=config.dataset.size)
    assert caplog.text.count("left out") == 2


def test_a_class_of_other_files_alone_says_which(tmp_path: Path) -> None:
    folder(tmp_path, ("a", "b"))
    for i in range(3):
        put(tmp_path / "c" / f"{i}.png").rename(tmp_path / "c" / f"{i}.heic")
    with pytest.raises(UserError, match=r"c: no images of class 'c'; files left out: 3 \(3 .heic\)"):
        load(tmp_path)


def test_the_counts_announced_are_the_counts_used(tmp_path: Path) -> None:
    folder(tmp_path, ("a", "b"), 8)
    (tmp_path / "a" / "0.png").write_bytes(b"?")
    whole = (tmp_path / "b" / "0.png").read_bytes()
    (tmp_path / "b" / "0.png").write_bytes(whole[: len(whole) // 2])
    put(tmp_path / "b" / "1.png", size=(9, 9))
    config = DatasetConfig(source=f"folder:{tmp_path}", skip_broken=True)
    found = survey(config)
    splits = load(f"folder:{tmp_path}", skip_broken=True)
    assert (found.train, found.test) == sizes(splits)[:2] == (9, 4)
    assert found.smallest == 4
    with pytest.raises(UserError, match="1 of 15 images is smaller than 32 x 32"):
        survey(DatasetConfig(source=f"folder:{tmp_path}"))
    Image.new("RGB", (40, 40)).save(tmp_path / "b" / "1.png")
