"""A permission, a network or a lack of memory is never remembered as a broken image; broken bytes are."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from tests.data.drawn import folder, load

from lgd.config import DatasetConfig
from lgd.data import stores
from lgd.data.splits import load_splits, survey
from lgd.data.tree import TreeFiles
from lgd.errors import UserError


class Failing:
    """A file that opens and cannot be read."""

    def __init__(self, error: OSError) -> None:
        self.error = error

    def read(self, count: int = -1) -> bytes:
        raise self.error

    def seek(self, *arguments: int) -> int:
        return 0

    def tell(self) -> int:
        return 0

    def __enter__(self) -> Failing:
        return self

    def __exit__(self, *arguments: object) -> None:
        pass


def denied(real: Callable[..., BinaryIO]) -> Callable[..., Any]:
    def open_file(self: TreeFiles, index: int) -> BinaryIO:
        if self.name(index).endswith("a/1.png"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(self, index)

    return open_file


def gone_network(real: Callable[..., BinaryIO]) -> Callable[..., Any]:
    def open_file(self: TreeFiles, index: int) -> Any:
        if self.name(index).endswith("a/1.png"):
            return Failing(OSError(errno.EIO, os.strerror(errno.EIO)))
        return real(self, index)

    return open_file


def timed_out(real: Callable[..., BinaryIO]) -> Callable[..., Any]:
    def open_file(self: TreeFiles, index: int) -> Any:
        if self.name(index).endswith("a/1.png"):
            return Failing(TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)))
        return real(self, index)

    return open_file


@pytest.mark.parametrize("fail", [denied, gone_network, timed_out])
@pytest.mark.parametrize("skip_broken", [False, True])
def test_it_is_tried_again(
    fail: Callable[..., Any], skip_broken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    folder(tmp_path, ("a", "b"), 6)
    config = DatasetConfig(source=f"folder:{tmp_path}", skip_broken=skip_broken)
    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(TreeFiles, "open", fail(TreeFiles.open))
            if skip_broken:
                splits = load_splits(config)
                assert len(splits.train) + len(splits.test) == 11
                assert "1 of 12 images cannot be used" in caplog.text
            else:
                with pytest.raises(UserError, match=r"1 of 12 images cannot be used: .*a/1.png: \w+"):
                    load_splits(config)
    splits = load_splits(config)
    assert len(splits.train) + len(splits.test) == 12


def test_broken_bytes_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path, ("a", "b"), 6)
    (tmp_path / "a" / "1.png").write_bytes(b"?")
    first = load(tmp_path, skip_broken=True)

    def decode_none(*arguments: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(stores, "decode", decode_none)
    assert len(load(tmp_path, skip_broken=True).train) == len(first.train)


def test_sizes_of_files_that_cannot_be_read_now_are_read_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path, ("a", "b"), 6)
    folder(tmp_path, ("a",), 6, size=(20, 20))
    with monkeypatch.context() as patch:
        real = TreeFiles.open

        def small_denied(self: TreeFiles, index: int) -> BinaryIO:
            if "/a/" in self.name(index):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return real(self, index)

        patch.setattr(TreeFiles, "open", small_denied)
        assert survey(DatasetConfig(source=f"folder:{tmp_path}")).dataset.size == 32
    assert survey(DatasetConfig(source=f"folder:{tmp_path}")).dataset.size == 20


def test_too_little_memory_is_no_broken_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path, ("a", "b"), 6)
    with monkeypatch.context() as patch:

        def too_large(*arguments: object) -> None:
            raise MemoryError

        patch.setattr("lgd.data.decode.upright", too_large)
        with pytest.raises(MemoryError):
            load(tmp_path, skip_broken=True)
    splits = load(tmp_path)
    assert len(splits.train) + len(splits.test) == 12
