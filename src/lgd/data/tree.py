"""The files of an image folder: one folder per class, the images anywhere below it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from lgd.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".ppm")
JUDGING = ("test", "val", "validation", "valid")
"""folders beside `train` that may hold the judging part, the first that there is"""


@dataclass(frozen=True)
class TreeFiles:
    """Paths of very many files, packed into one block of bytes."""

    root: str
    names: bytes
    """paths relative to `root`, one after the other"""
    ends: np.ndarray
    """where each name ends, int64 (N,)"""

    @classmethod
    def of(cls, root: Path, names: Sequence[bytes]) -> TreeFiles:
        return cls(str(root), b"".join(names), np.cumsum([len(name) for name in names], dtype=np.int64))

    def name(self, index: int) -> str:
        start = int(self.ends[index - 1]) if index else 0
        return os.path.join(self.root, os.fsdecode(self.names[start : int(self.ends[index])]))  # noqa: PTH118

    def open(self, index: int) -> BinaryIO:
        return open(self.name(index), "rb")  # noqa: PTH123


def class_folders(root: Path) -> list[str]:
    """Names of the folders in `root`, sorted; hidden ones are no classes. Errors: UserError."""
    try:
        with os.scandir(root) as entries:
            names = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    except OSError as error:
        raise UserError(f"{root}: {error.strerror}") from None
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise UserError(f"{root}: the name of the class folder {name!r} is not UTF-8; rename it") from None
    return names


@dataclass
class Links:
    """Symbolic links that were left out."""

    count: int = 0
    first: str = ""


def image_names(root: Path, class_name: str, links: Links) -> list[bytes]:
    """Paths, relative to `root`, of the images of a class, sorted.

    Symbolic links to files inside `root` are followed; others, and all to folders, are left out and counted.
    """
    home = os.path.realpath(root) + os.sep
    return sorted(os.fsencode(name) for name in _walk(str(root), class_name, home, links))


def _walk(root: str, folder: str, home: str, links: Links) -> Iterator[str]:
    with os.scandir(os.path.join(root, folder)) as entries:  # noqa: PTH118
        for entry in entries:
            name = f"{folder}/{entry.name}"
            if entry.name.startswith("."):
                continue
            if entry.is_symlink() and (entry.is_dir() or not os.path.realpath(entry.path).startswith(home)):
                links.count += 1
                links.first = links.first or entry.path
            elif entry.is_dir():
                yield from _walk(root, name, home, links)
            elif entry.name.lower().endswith(SUFFIXES) and entry.is_file():
                yield name
