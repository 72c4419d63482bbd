"""Class names compare in normalised Unicode, percent-encoded or plain, wherever sets meet."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.data.drawn import folder, load, put, sizes

from lgd.data.class_names import composed, pick, plain_name
from lgd.data.folder import folder_files, read_folder
from lgd.errors import UserError
from lgd.storage.files import safe_name

NFC, NFD, ENCODED = "caf\u00e9", "cafe\u0301", "caf%C3%A9"


@pytest.mark.parametrize("train", [NFC, NFD, ENCODED])
@pytest.mark.parametrize("test", [NFC, NFD, ENCODED])
def test_train_against_test(train: str, test: str, tmp_path: Path) -> None:
    folder(tmp_path / "train", (train, "tea"), 3)
    folder(tmp_path / "test", (test, "tea"), 2)
    splits = load(tmp_path)
    assert sizes(splits) == (6, 4, (NFC, "tea"))
    assert splits.test.class_names == splits.train.class_names


@pytest.mark.parametrize("wanted", [NFC, NFD, ENCODED])
@pytest.mark.parametrize("there", [NFC, NFD, ENCODED])
def test_lists_of_classes(wanted: str, there: str, tmp_path: Path) -> None:
    folder(tmp_path / "set", (there, "tea", "milk"))
    assert load(tmp_path / "set", classes=("tea", wanted)).class_order == ("tea", NFC)
    listed = tmp_path / "list.txt"
    listed.write_text(f"tea\n{wanted}\n")
    assert load(tmp_path / "set", classes=(str(listed),)).class_order == ("tea", NFC)
    with pytest.raises(UserError, match="comes twice"):
        load(tmp_path / "set", classes=(NFC, "tea", wanted))


@pytest.mark.parametrize("there", [NFC, NFD, ENCODED, "caf%c3%a9"])
def test_evaluation_of_a_folder(there: str, tmp_path: Path) -> None:
    folder(tmp_path, (there, "tea"), 2, size=(8, 8))
    images = read_folder(tmp_path, ("tea", NFC), (3, 8, 8))
    assert images.labels.tolist() == [0, 0, 1, 1]
    assert folder_files(tmp_path, ("tea", NFC)) == ["tea/0.png", "tea/1.png", f"{there}/0.png", f"{there}/1.png"]


def test_two_folders_of_one_class_are_refused(tmp_path: Path) -> None:
    folder(tmp_path, (NFC, ENCODED, "tea"), 2, size=(8, 8))
    with pytest.raises(UserError, match=r"folders 'caf%C3%A9' and 'caf\\xe9' are one class, 'caf\u00e9'; join"):
        load(tmp_path)
    with pytest.raises(UserError, match=r"and .*caf.* are one class"):
        read_folder(tmp_path, (NFC, "tea"), (3, 8, 8))


def test_names_with_signs(tmp_path: Path) -> None:
    names = ("100%", "a/b", "-x", "50 % off", "żaba")
    for name in names:
        for i in range(4):
            put(tmp_path / safe_name(name) / f"{i}.png", i)
    assert load(tmp_path).train.class_names == tuple(sorted(names))


@pytest.mark.parametrize("name", ["%", "%zz", "100%", "%ff", "a%", "%00", "%0A", "%20"])
def test_what_does_not_decode_to_a_name_stays(name: str) -> None:
    assert plain_name(name) == name


@given(st.text(min_size=1, max_size=12))
def test_the_encoded_name_is_the_plain_name(name: str) -> None:
    printable = composed(name).isprintable() and name.strip() and len(safe_name(name)) < 100
    assert not printable or plain_name(safe_name(name)) == composed(name)


def test_pick_keeps_the_exact_name_first() -> None:
    assert pick(("%41", "A"), ("%41", "A"), "x") == ("%41", "A")
    with pytest.raises(UserError, match="no class 'B'"):
        pick(("A", "C"), ("B",), "x")
