from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lgd.errors import UserError
from lgd.storage.files import load_tensors, output_directory, read_json, safe_name, write_file, write_json


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})

    def half(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_file(path, half)
    assert read_json(path) == {"old": 1}
    assert [item.name for item in tmp_path.iterdir()] == ["a.json"]


def test_what_a_killed_process_left_half_written_goes_when_the_directory_is_next_opened(tmp_path: Path) -> None:
    """Even when it was killed before its first file was whole; a stranger's files stay."""
    out = tmp_path / "run"
    (out / "dataset" / "0").mkdir(parents=True)
    halves = [out / ".config.json.17.tmp", out / "dataset" / "0" / ".01-0000.png.17741.tmp"]
    mine = out / "dataset" / ".cache.tmp"
    for path in [*halves, mine]:
        path.write_text("half")
    (out / "config.json").write_text("{}")
    with output_directory(out):
        assert not any(path.exists() for path in halves)
        assert mine.exists()
    early = tmp_path / "early"
    early.mkdir()
    (early / ".config.json.17.tmp").write_text("half")
    with output_directory(early):
        assert {item.name for item in early.iterdir()} == {".lock", ".holder"}


@given(st.text())
def test_safe_names_are_single_plain_components(name: str) -> None:
    safe = safe_name(name)
    assert safe == Path(safe).name
    assert safe not in ("", ".", "..")
    assert len(safe) <= 120
    assert not set(safe) & set('/\\:*?"<>|\0')
    assert safe[-1] not in ". "


@given(st.text(max_size=12), st.text(max_size=12))
def test_safe_names_keep_names_apart(a: str, b: str) -> None:
    assert (safe_name(a) == safe_name(b)) == (a == b)


@pytest.mark.parametrize("name", ["n01440764", "tench", "school bus", "a-b_c.d"])
def test_ordinary_names_stay_as_they_are(name: str) -> None:
    assert safe_name(name) == name


def test_reserved_names_of_windows_are_escaped() -> None:
    assert safe_name("CON") == "%43ON"
    assert safe_name("com1.x") != "com1.x"


def test_corrupt_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(UserError, match=r"x\.json: corrupt"):
        read_json(tmp_path / "x.json")
    (tmp_path / "x.safetensors").write_bytes(b"\x80\x04pickle")
    with pytest.raises(UserError, match=r"x\.safetensors: a pickle"):
        load_tensors(tmp_path / "x.safetensors")
    (tmp_path / "x.safetensors").write_bytes(bytes(20))
    with pytest.raises(UserError, match=r"x\.safetensors: corrupt"):
        load_tensors(tmp_path / "x.safetensors")
    with pytest.raises(UserError, match="no such file"):
        load_tensors(tmp_path / "none.safetensors")


def test_a_foreign_directory_is_never_emptied(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="not made by lgd"), output_directory(tmp_path, overwrite=True):
        pass
    assert (tmp_path / "thesis.tex").exists()


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"), output_directory(tmp_path / "file"):
        pass
