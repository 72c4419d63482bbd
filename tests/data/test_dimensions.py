"""Size, channels and bits follow most images; the few that differ are named and never decide for all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.drawn import folder, load, picture, put

from lgd.data.dimensions import few, least_of
from lgd.errors import UserError


def test_few_are_a_tenth_or_one() -> None:
    assert [few(n) for n in (0, 1, 2, 3, 9, 10, 19, 20, 1000)] == [0, 0, 0, 1, 1, 1, 1, 2, 100]


@pytest.mark.parametrize("left_out", range(6))
def test_the_least_without_a_few_is_that_of_the_sorted_list(left_out: int) -> None:
    values = np.random.default_rng(left_out).integers(-5, 5, 40).tolist()
    counts = {value: values.count(value) for value in values}
    assert least_of(counts, left_out) == sorted(values)[left_out]


@pytest.mark.parametrize(("odd", "keeps"), [((10, 10), 8), ((1, 1), 0), ((500, 14), 12), ((23, 23), 20)])
def test_one_small_image_does_not_shrink_all(odd: tuple[int, int], keeps: int, tmp_path: Path) -> None:
    folder(tmp_path, ("a", "b"), 10, size=(50, 40))
    Image.new("RGB", odd).save(tmp_path / "a" / "spacer.gif")
    with pytest.raises(
        UserError, match=r"1 of 21 images is smaller than 32 x 32 pixels: .*a/spacer.gif \(\d+ x"
    ) as caught:
        load(tmp_path)
    assert "--dataset.size 32 --skip-broken leaves them out" in str(caught.value)
    assert ("keeps all" in str(caught.value)) == bool(keeps)
    splits = load(tmp_path, skip_broken=True)
    assert (splits.train.shape[1], len(splits.train) + len(splits.test)) == (32, 20)
    if keeps:
        assert f"--dataset.size {keeps} keeps all" in str(caught.value)
        assert load(tmp_path, size=keeps).train.shape[1] == keeps


def test_many_small_images_decide(tmp_path: Path) -> None:
    folder(tmp_path, ("a", "b"), 10, size=(50, 40))
    for i in range(4):
        put(tmp_path / "a" / f"small{i}.png", i, size=(22, 30))
    assert load(tmp_path).train.shape[1] == 20


def test_small_images_of_both_parts_are_counted_together(tmp_path: Path) -> None:
    for part in ("train", "test"):
        folder(tmp_path / part, ("a", "b"), 10, size=(40, 40))
        put(tmp_path / part / "a" / "small.png", size=(12, 12))
    with pytest.raises(UserError, match=r"2 of 42 images are smaller .*test/a/small.png .*train/a/small.png"):
        load(tmp_path)


def test_images_that_are_all_too_small(tmp_path: Path) -> None:
    folder(tmp_path, ("a", "b"), size=(7, 9))
    with pytest.raises(UserError, match=r"a/0.png \(7 x 9\): 7 pixels are too few; at least 8 x 8 are needed"):
        load(tmp_path)


def test_one_coloured_image_does_not_colour_all(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder(tmp_path, ("a", "b"), 10, mode="L")
    put(tmp_path / "a" / "logo.png")
    assert load(tmp_path).train.shape == (1, 32, 32)
    assert "read as grey, as most images are; 1 of 21 have colours" in caplog.text
    assert "logo.png" in caplog.text
    assert load(tmp_path, channels=3).train.shape == (3, 32, 32)
    for i in range(3):
        put(tmp_path / "b" / f"logo{i}.png")
    assert load(tmp_path).train.shape == (3, 32, 32)


def test_a_set_without_an_image_that_can_be_read(tmp_path: Path) -> None:
    for i in range(4):
        put(tmp_path / "ab"[i % 2] / f"{i}.png").write_bytes(b"?")
    with pytest.raises(UserError, match=r"4 of 4 images cannot be used"):
        load(tmp_path)


def test_a_grey_set_on_a_coloured_background_is_in_colour(tmp_path: Path) -> None:
    for i in range(8):
        path = tmp_path / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        image = picture(i, mode="LA")
        image.putalpha(picture(i + 50, mode="L"))
        image.save(path)
    assert load(tmp_path).train.shape[0] == 1
    assert load(tmp_path, background="white").train.shape[0] == 1
    assert load(tmp_path, background="#ff8800").train.shape[0] == 3
