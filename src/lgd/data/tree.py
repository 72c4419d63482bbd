"""The files of an image folder: one folder per class, the images anywhere below it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

import numpy as np

from lgd.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".ppm")
JUDGING = ("test", "val", "validation", "valid")
"""folders beside `train`, and splits of a table, that may be the judging part; the first that there is"""


@dataclass(frozen=True)
class TreeFiles:
    """Paths of very many files, packed into one block of bytes."""

    root: str
    names: bytes
    """paths relative to `root`, one after the other"""
    ends: np.ndarray
    """where each name ends, int64 (N,)"""

    def name(self, index: int) -> str:
        start = int(self.ends[index - 1]) if index else 0
        return f"{self.root}/{os.fsdecode(self.names[start : int(self.ends[index])])}"

    def open(self, index: int) -> BinaryIO:
        return Path(self.name(index)).open("rb")


@dataclass(frozen=True)
class Tree:
    """What is in an image folder."""

    files: TreeFiles
    counts: tuple[int, ...]
    """images of each class; they follow one another, sorted by name"""
    fingerprint: str
    """of names, sizes and times of change"""
    links: tuple[str, ...]
    """symbolic links that are not followed"""


def class_folders(root: Path) -> list[str]:
    """Names of the folders in `root`, sorted; hidden ones are no classes. Errors: UserError."""
    names = sorted(entry.name for entry in _entries(str(root)) if entry.is_dir())
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise UserError(f"{root}: the name of the class folder {name!r} is not UTF-8; rename it") from None
    return names


def scan(root: Path, classes: Sequence[str]) -> Tree:
    """List the images of each class.

    A symbolic link is followed where it leads to a file inside `root`; other links are not. Hidden files and folders
    and files with another suffix than an image's are no images. Errors: UserError naming an empty class.
    """
    home = os.path.realpath(root) + os.sep
    links: list[str] = []
    digest = blake2b(digest_size=16)
    names, lengths, counts = bytearray(), [], []
    for folder in classes:
        linked = (root / folder).is_symlink()
        links += [str(root / folder)] * linked
        found = [] if linked else sorted(_walk(str(root), folder, home, links.append))
        if not found:
            link = next((link for link in links if link.startswith(f"{root}/{folder}")), None)
            why = f": the symbolic link {link} leads out of {root}, or to a folder, and is not followed" if link else ""
            raise UserError(f"{root / folder}: no images of class {folder!r}{why}")
        for name, size, time in found:
            digest.update(name + b"\0%d %d\0" % (size, time))
            names += name
            lengths.append(len(name))
        counts.append(len(found))
    files = TreeFiles(str(root), bytes(names), np.cumsum(lengths, dtype=np.int64))
    return Tree(files, tuple(counts), digest.hexdigest(), tuple(links))


def _walk(root: str, folder: str, home: str, left_out: Callable[[str], None]) -> Iterator[tuple[bytes, int, int]]:
    """(path relative to `root`, bytes, nanoseconds of the last change) of each image at or below `folder`."""
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        for entry in _entries(f"{root}/{here}"):
            name = f"{here}/{entry.name}"
            if entry.is_symlink() and (entry.is_dir() or not os.path.realpath(entry.path).startswith(home)):
                left_out(entry.path)
            elif entry.is_dir():
                waiting.append(name)
            elif entry.name.lower().endswith(SUFFIXES) and entry.is_file():
                status = entry.stat()
                yield os.fsencode(name), status.st_size, status.st_mtime_ns


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """What is in a folder and not hidden."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}") from None
