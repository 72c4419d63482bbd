"""Images that are not in memory: decoded from their files as they are needed, or read from a file of pixels.

Both behave as a tensor (N, C, H, W) of which parts are read, and both hold no more than a few batches in memory.
"""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import BinaryIO, Protocol, Self

import torch
from loky import cpu_count
from torch import Tensor

from lgd.errors import UserError

from .decode import BrokenImageError, Colour, decode

AHEAD = 3  # batches decoded ahead of the consumer
SLICE = 16  # images per task of a thread: far more work than handing it over

Shape = tuple[int, int, int, int]


class Encoded(Protocol):
    """Encoded images by number: the files of a folder, the rows of a table. Safe to use from several threads."""

    def open(self, index: int) -> BinaryIO:
        """Errors: BrokenImageError, OSError."""
        ...

    def name(self, index: int) -> str:
        """For messages."""
        ...


class Store(Protocol):
    """Where an `ImageSet` has its images."""

    @property
    def shape(self) -> Shape:
        """(N, C, H, W)"""
        ...

    def take(self, indices: Tensor) -> Self:
        """The images at `indices`, unread."""
        ...

    def stream(self, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield the images of each chunk of indices (B,), uint8 (B, C, H, W). Errors: UserError naming a file."""
        ...


@dataclass
class Waiting:
    """How long this process has waited for images, in seconds."""

    seconds: float = 0.0


waiting = Waiting()


@cache
def decoders() -> ThreadPoolExecutor:
    """This process's threads. Pillow decodes and resizes outside of Python's lock."""
    return ThreadPoolExecutor(min(16, cpu_count()), "decoder")


@dataclass(frozen=True)
class Rows:
    """Some of the images that are somewhere, all of one size."""

    rows: Tensor
    """their numbers there, int64 (N,)"""
    channels: int
    size: int

    @property
    def shape(self) -> Shape:
        return len(self.rows), self.channels, self.size, self.size

    def take(self, indices: Tensor) -> Self:
        return replace(self, rows=self.rows[indices])


@dataclass(frozen=True)
class Fault:
    """Why an image cannot be read."""

    reason: str
    """with the image's name"""
    passing: bool
    """an error of this moment, such as a missing permission, and not of the image's bytes"""


@dataclass(frozen=True)
class EncodedImages(Rows):
    """Images in their files, decoded by threads, a few batches ahead of the consumer."""

    files: Encoded
    bits: int = 16
    """that hold the values of images with more than eight bits per channel"""
    background: Colour | None = None
    """laid under transparent images"""
    resize: int = 0
    """of the shorter side before the crop; 0: to the size"""

    def stream(self, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        for images, broken in self.decoded(chunks):
            if broken:
                raise UserError("; ".join(fault.reason for fault in broken.values()))
            yield images

    def decoded(self, chunks: Iterable[Tensor]) -> Iterator[tuple[Tensor, dict[int, Fault]]]:
        """As `stream`, with the faults of the images that cannot be read by their positions in the chunk."""
        begun: deque[tuple[Tensor, list[Future[dict[int, Fault]]]]] = deque()
        try:
            for chunk in chunks:
                begun.append(self._begin(self.rows[chunk].tolist()))
                if len(begun) > AHEAD:
                    yield _finish(*begun.popleft())
            while begun:
                yield _finish(*begun.popleft())
        finally:
            for _, futures in begun:
                for future in futures:
                    future.cancel()

    def opens(self, place: int) -> bool:
        try:
            with suppress(BrokenImageError), self.files.open(int(self.rows[place])) as file:
                file.read(1)
        except OSError:
            return False
        return True

    def _begin(self, rows: Sequence[int]) -> tuple[Tensor, list[Future[dict[int, Fault]]]]:
        images = torch.empty(len(rows), *self.shape[1:], dtype=torch.uint8)
        starts = range(0, len(rows), SLICE)
        return images, [
            decoders().submit(self._fill, images, rows, range(i, min(i + SLICE, len(rows)))) for i in starts
        ]

    def _fill(self, images: Tensor, rows: Sequence[int], places: range) -> dict[int, Fault]:
        pixels, broken = images.numpy(), {}
        for place in places:
            try:
                with self.files.open(rows[place]) as file:
                    pixels[place] = decode(file, self.channels, self.size, self.bits, self.background, self.resize)
            except BrokenImageError as error:
                broken[place] = Fault(f"{self.files.name(rows[place])}: {error}", passing=False)
            except OSError as error:
                broken[place] = Fault(f"{self.files.name(rows[place])}: {error.strerror or error}", passing=True)
        return broken


def _finish(images: Tensor, futures: Sequence[Future[dict[int, Fault]]]) -> tuple[Tensor, dict[int, Fault]]:
    start = time.monotonic()
    broken = [future.result() for future in futures]
    waiting.seconds += time.monotonic() - start
    return images, {place: fault for part in broken for place, fault in part.items()}


@dataclass(frozen=True)
class PixelFile(Rows):
    """Decoded images, one after the other in a file; the operating system keeps in memory what is used and fits."""

    path: Path

    def stream(self, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        length = self.channels * self.size**2
        with self.path.open("rb", buffering=0) as file:
            for chunk in chunks:
                start = time.monotonic()
                rows = self.rows[chunk].tolist()
                images = torch.empty(len(rows), *self.shape[1:], dtype=torch.uint8)
                for image, row in zip(images.view(len(rows), length).numpy(), rows, strict=True):
                    # Not mapped into memory: pages of a map count as the process's own.
                    file.seek(row * length)
                    if file.readinto(image) != length:
                        raise UserError(f"{self.path}: shorter than it was; run the same command to make it anew")
                waiting.seconds += time.monotonic() - start
                yield images
