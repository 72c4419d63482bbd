"""Work on image files that is done once: decoding them, and finding those that are broken.

~/.cache/lgd/KEY.json says what was found, KEY.pixels holds the decoded images, unless they are too many. A key is made
from the names, sizes and times of all files, so that a changed file is never taken for the old one. Where nothing can
be written, the work is done each time.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lgd.errors import UserError
from lgd.progress import progress_bar
from lgd.storage.files import UNFINISHED, read_json, write_json, write_stream

from .messages import SHOWN
from .stores import EncodedImages, PixelFile, Store

LARGEST = 16 * 2**30
"""bytes of decoded images that are kept; the images of a larger set are decoded whenever they are used"""
EVERYTHING = 64 * 2**30
"""bytes of all that is kept, beyond which goes what was not used for longest"""
BLOCK = 256  # images decoded at once
FORMAT = 2  # part of every key, to be raised when decoding changes
DAY = 24 * 3600.0  # seconds


@dataclass
class Found:
    """The faults that decoding all images has shown."""

    broken: list[tuple[int, str]] = field(default_factory=list)
    """position of each image that cannot be read, and its name with the reason"""
    unreadable: list[int] = field(default_factory=list)
    """positions of those whose files could not be read at that moment; they are tried again each time"""
    flats: int = 0
    """images of one colour"""
    flat_names: list[str] = field(default_factory=list)
    """of the first of them"""
    colours: list[list[int]] = field(default_factory=list)
    """of theirs, the first two that differ"""
    bytes: int = 0
    """of the pixels that are kept"""


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lgd"


def key_of(*parts: object) -> str:
    return blake2b(repr((FORMAT, *parts)).encode(), digest_size=16).hexdigest()


def remembered(key: str, find: Callable[[], Any], lasting: Callable[[Any], bool] = lambda value: True) -> Any:
    """The JSON value that `find()` gives, found once. lasting: whether a value may be kept."""
    path = cache_folder() / f"{key}.json"
    with suppress(UserError, OSError):
        return read_json(path)
    value = find()
    with suppress(OSError):
        if lasting(value):
            write_json(path, value)
    return value


def prepare(images: EncodedImages, key: str) -> tuple[Tensor, Store, Found]:
    """Decode every image once and keep the pixels, unless they are too many; key: of the files and rows.

    Returns the positions of the images that can be read, int64 (M,), these images, and the faults of the others.
    """
    N, C, H, W = images.shape
    key = key_of(key, C, H, W, *([images.resize] if images.resize else []))
    path = cache_folder() / f"{key}.pixels"

    def decode_all() -> dict[str, Any]:
        found = Found()
        with progress_bar(N, "reading images") as advance:
            blocks = readable(images, found, advance)
            if N * C * H * W <= LARGEST:
                write_pixels(path, blocks, N * C * H * W)
            for _ in blocks:  # what there was no place for
                pass
        found.bytes = (N - len(found.broken)) * C * H * W if path.exists() else 0
        return asdict(found)

    found = Found(**remembered(key, decode_all))
    cut = found.bytes and (not path.exists() or path.stat().st_size != found.bytes)
    if cut or any(images.opens(place) for place in found.unreadable):
        for kept in (path, path.with_suffix(".json")):
            kept.unlink(missing_ok=True)
        found = Found(**remembered(key, decode_all))
    good = torch.ones(N, dtype=torch.bool)
    good[[place for place, _ in found.broken]] = False
    places = good.nonzero().flatten()
    store: Store = images.take(places)
    if found.bytes:
        with suppress(OSError):
            os.utime(path)
        store = PixelFile(torch.arange(len(places)), C, H, path)
    return places, store, found


def readable(images: EncodedImages, found: Found, advance: Callable[..., None]) -> Iterator[Tensor]:
    """Decode the images in blocks, without those that cannot be read; fills `found`."""
    done = 0
    for block, faults in images.decoded(torch.arange(len(images.rows)).split(BLOCK)):
        found.broken += [(done + place, fault.reason) for place, fault in faults.items()]
        found.unreadable += [done + place for place, fault in faults.items() if fault.passing]
        good = torch.tensor([place for place in range(len(block)) if place not in faults], dtype=torch.long)
        note_flat(images, done, block, good, found)
        done += len(block)
        advance(count=len(block))
        yield block[good] if faults else block


def note_flat(images: EncodedImages, start: int, block: Tensor, good: Tensor, found: Found) -> None:
    """Count the `good` images (M,) of a block (B, C, H, W) that are of one colour."""
    flat = good[(block == block[..., :1, :1]).flatten(1).all(1)[good]]
    found.flats += len(flat)
    found.flat_names += [images.files.name(int(images.rows[start + place])) for place in flat.tolist()][:SHOWN]
    found.colours += [colour for colour in block[flat, :, 0, 0].unique(dim=0).tolist() if colour not in found.colours]
    del found.flat_names[SHOWN:], found.colours[2:]


def write_pixels(path: Path, blocks: Iterable[Tensor], size: int) -> None:
    """Write the blocks one after the other; where that fails, they are not kept."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        make_room(path.parent, size)
        if shutil.disk_usage(path.parent).free > 2 * size:
            write_stream(path, lambda file: file.writelines(block.numpy().tobytes() for block in blocks))


def make_room(folder: Path, size: int) -> None:
    """Delete what was not used for longest until `size` more bytes fit, and what a killed process left."""
    files = sorted(folder.glob("*.pixels"), key=lambda file: file.stat().st_mtime)
    total = size + sum(file.stat().st_size for file in files)
    for file in files:
        if total > EVERYTHING:
            total -= file.stat().st_size
            file.unlink(missing_ok=True)
    for file in folder.glob(".*.tmp"):
        if UNFINISHED.fullmatch(file.name) and file.stat().st_mtime < time.time() - DAY:
            file.unlink(missing_ok=True)
