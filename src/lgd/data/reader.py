"""Images in files, decoded by a pool of threads as they are needed, a few batches ahead of their consumer."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from typing import BinaryIO, Protocol

import torch
from torch import Tensor

from lgd.errors import UserError

from .decode import BrokenImageError, decode

AHEAD = 3
"""batches decoded ahead of the consumer: what bounds the memory"""
SLICE = 16
"""images per task of a thread: far more work than handing it over"""


class Encoded(Protocol):
    """Encoded images by number: the files of a folder, the rows of a table. Safe to use from several threads."""

    def open(self, index: int) -> BinaryIO: ...

    def name(self, index: int) -> str:
        """For messages."""
        ...


@cache
def decoders() -> ThreadPoolExecutor:
    """This process's threads. Pillow decodes and resizes outside of Python's lock."""
    return ThreadPoolExecutor(min(16, len(os.sched_getaffinity(0))), "decoder")


@dataclass(frozen=True)
class FileImages:
    """Images that stay in their files: like a tensor (N, C, size, size), of which parts are read."""

    files: Encoded
    rows: Tensor
    """numbers of the images in `files`, int64 (N,)"""
    channels: int
    size: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W)"""
        return len(self.rows), self.channels, self.size, self.size

    def take(self, indices: Tensor) -> FileImages:
        """The images at `indices`, unread."""
        return replace(self, rows=self.rows[indices])

    def stream(self, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        """The images of each chunk of indices (B,), uint8 (B, C, H, W).

        Errors: UserError naming a file that cannot be read.
        """
        waiting: deque[tuple[Tensor, list[Future[None]]]] = deque()
        try:
            for chunk in chunks:
                waiting.append(self._start(self.rows[chunk].tolist()))
                if len(waiting) > AHEAD:
                    yield _finished(*waiting.popleft())
            while waiting:
                yield _finished(*waiting.popleft())
        finally:
            for _, futures in waiting:
                for future in futures:
                    future.cancel()

    def _start(self, rows: Sequence[int]) -> tuple[Tensor, list[Future[None]]]:
        images = torch.empty(len(rows), *self.shape[1:], dtype=torch.uint8)
        starts = range(0, len(rows), SLICE)
        return images, [decoders().submit(self._fill, images[i : i + SLICE], rows[i : i + SLICE]) for i in starts]

    def _fill(self, images: Tensor, rows: Sequence[int]) -> None:
        for image, row in zip(images, rows, strict=True):
            try:
                with self.files.open(row) as file:
                    image.numpy()[...] = decode(file, self.channels, self.size)
            except (BrokenImageError, OSError) as error:
                raise UserError(f"{self.files.name(row)}: {error}") from None


def _finished(images: Tensor, futures: Sequence[Future[None]]) -> Tensor:
    for future in futures:
        future.result()
    return images
