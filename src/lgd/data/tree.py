"""The tree of an image folder: one folder per class, the images anywhere below it."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np

from lgd.errors import UserError

from .class_names import plain_name

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".pjpeg", ".pjp", ".png", ".apng", ".webp", ".avif"),
    *(".bmp", ".dib", ".gif", ".tif", ".tiff", ".pbm", ".pgm", ".ppm", ".pnm"),
)
MADE_BY_SYSTEMS = frozenset(
    {
        *("@eadir", "@__thumb", "@tmp", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "__macosx"),
        *("$recycle.bin", "recycler", "system volume information", "lost+found", "found.000", "__pycache__"),
    }
)
"""folders of thumbnails, deleted files and the like that computers and network drives make, in lower case"""
LONGEST_SUFFIX = 10


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


@dataclass
class LeftOut:
    """Files that are not read."""

    kinds: Counter[str] = field(default_factory=Counter)
    links: list[str] = field(default_factory=list)
    """symbolic links that lead to a folder or out of the root"""

    def add(self, other: Self) -> None:
        self.kinds += other.kinds
        self.links += other.links

    def notes(self, root: Path) -> tuple[str, ...]:
        links = f"{root}: symbolic links that are not followed: {len(self.links)} (first: {', '.join(self.links[:1])})"
        return (f"{root}: {self}",) * bool(self.kinds) + (links,) * bool(self.links)

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.kinds.most_common())
        return f"files left out: {self.kinds.total()} ({kinds})"


@dataclass(frozen=True)
class Tree:
    """The images of an image folder."""

    files: TreeFiles
    counts: tuple[int, ...]
    """images of each class; they follow one another, sorted by name"""
    fingerprint: str
    """of names, sizes and times of change"""
    notes: tuple[str, ...]
    """one-line messages about files that are left out"""


@dataclass(frozen=True)
class Contents:
    """The folders and the number of images directly in a folder."""

    folders: tuple[str, ...]
    images: int


def class_folders(root: Path) -> dict[str, str]:
    """Map class names to the folders in `root`, sorted by class name.

    Hidden folders and those that systems make are no classes. Errors: UserError for a name that is not UTF-8, and for
    two folders of the same name in normalised Unicode or percent-encoding.
    """
    folders: dict[str, str] = {}
    for folder in contents(root).folders:
        try:
            folder.encode()
        except UnicodeEncodeError:
            raise UserError(f"{root}: the name of the class folder {folder!r} is not UTF-8; rename it") from None
        name = plain_name(folder)
        if folders.setdefault(name, folder) != folder:
            raise UserError(f"{root}: the folders {folders[name]!a} and {folder!a} are one class, {name!r}; join them")
    return dict(sorted(folders.items()))


def contents(folder: Path) -> Contents:
    """Look into a folder. Errors: UserError."""
    entries = [entry for entry in _entries(str(folder)) if not _is_ignored(entry)]
    folders = tuple(sorted(entry.name for entry in entries if entry.is_dir()))
    return Contents(folders, sum(_is_image(entry) for entry in entries))


def holds_images(folder: Path) -> bool:
    """Whether an image is anywhere below a folder. Errors: UserError."""
    return next(_walk(str(folder), ".", "", LeftOut()), None) is not None


def scan(root: Path, classes: Mapping[str, str]) -> Tree:
    """List the images of each class. classes: the folder in `root` by the class's name, in the order of the labels.

    A symbolic link is followed where it leads to a file inside `root`; other links are not. Hidden files, folders that
    systems make, and files with another suffix than an image's are left out. Errors: UserError naming an empty class.
    """
    home = os.path.realpath(root) + os.sep
    left_out = beside(root)
    digest = blake2b(digest_size=16)
    names, lengths, counts = bytearray(), [], []
    for name, folder in classes.items():
        here = LeftOut()
        if (root / folder).is_symlink():
            here.links.append(str(root / folder))
        found = [] if here.links else sorted(_walk(str(root), folder, home, here))
        if not found:
            raise UserError(f"{root / folder}: no images of class {name!r}{_why_none(root, here)}")
        left_out.add(here)
        for file, size, time in found:
            digest.update(file + b"\0%d %d\0" % (size, time))
            names += file
            lengths.append(len(file))
        counts.append(len(found))
    files = TreeFiles(str(root), bytes(names), np.cumsum(lengths, dtype=np.int64))
    return Tree(files, tuple(counts), digest.hexdigest(), left_out.notes(root))


def _why_none(root: Path, left_out: LeftOut) -> str:
    if left_out.links:
        link = left_out.links[0]
        return f": the symbolic link {link} leads out of {root}, or to a folder, and is not followed"
    return f"; {left_out}" if left_out.kinds else ""


def beside(root: Path) -> LeftOut:
    """Count the files directly in `root`, where folders are expected."""
    left_out = LeftOut()
    for entry in _entries(str(root)):
        if _is_ignored(entry):
            _ignore(entry, left_out)
        elif not entry.is_dir():
            left_out.kinds["beside the folders"] += 1
    return left_out


def _walk(root: str, folder: str, home: str, left_out: LeftOut) -> Iterator[tuple[bytes, int, int]]:
    """(path relative to `root`, bytes, nanoseconds of the last change) of each image at or below `folder`."""
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        for entry in _entries(f"{root}/{here}"):
            name = f"{here}/{entry.name}"
            if _is_ignored(entry):
                _ignore(entry, left_out)
            elif entry.is_symlink() and (entry.is_dir() or not os.path.realpath(entry.path).startswith(home)):
                left_out.links.append(entry.path)
            elif entry.is_dir():
                waiting.append(name)
            elif _is_image(entry):
                status = entry.stat()
                yield os.fsencode(name), status.st_size, status.st_mtime_ns
            else:
                left_out.kinds[_suffix(entry)] += 1


def _is_ignored(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is hidden, or a folder that systems make."""
    return entry.name.startswith(".") or (entry.name.lower() in MADE_BY_SYSTEMS and entry.is_dir())


def _ignore(entry: os.DirEntry[str], left_out: LeftOut) -> None:
    """Count a hidden entry as one, and every file of a folder that systems make."""
    if entry.name.startswith("."):
        left_out.kinds["hidden"] += 1
    else:
        files = sum(len(files) for _, _, files in os.walk(entry.path))
        left_out.kinds[f"in {entry.name}"] += files


def _is_image(entry: os.DirEntry[str]) -> bool:
    return entry.name.lower().endswith(SUFFIXES) and entry.is_file()


def _suffix(entry: os.DirEntry[str]) -> str:
    suffix = Path(entry.name).suffix.lower()
    if suffix in SUFFIXES:
        return "not regular"
    return suffix if suffix.isprintable() and 1 < len(suffix) <= LONGEST_SUFFIX else "without a suffix"


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """List the contents of a folder. Errors: UserError."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}") from None
