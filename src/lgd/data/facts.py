"""Counts of what the headers of a part's images say, read once and kept."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from heapq import nlargest, nsmallest
from typing import Any

from torch import Tensor

from lgd.progress import progress_bar

from .cache import key_of, remembered
from .decode import BrokenImageError, Colour, Header, header
from .messages import SHOWN
from .parts import Part
from .stores import Encoded, decoders

LARGEST_SIDE = 32  # pixels; images with longer sides count as of this side
TASK, TASKS = 64, 64
"""headers that a thread reads at once, and such tasks that are handed out at once"""


@dataclass
class Facts:
    """Counts, with the images that stand out."""

    sides: Counter[int] = field(default_factory=Counter)
    """images by their shorter side"""
    small: list[tuple[int, str]] = field(default_factory=list)
    """shorter side, name and size of the smallest images"""
    coloured: int = 0
    coloured_names: list[str] = field(default_factory=list)
    depths: Counter[int] = field(default_factory=Counter)
    """images of more than eight bits per channel, by the bits of their largest value"""
    deep: list[tuple[int, str]] = field(default_factory=list)
    """bits and name of those with the largest values"""
    passing: int = 0
    """files that could not be read at the moment"""

    def add(self, seen: Header, name: str, tinted: bool, count: int = 1) -> None:
        """Count an image. tinted: whether transparent images show a background that is not grey."""
        side = min(seen.width, seen.height)
        self.sides[min(side, LARGEST_SIDE)] += count
        if side < LARGEST_SIDE:
            self.small = nsmallest(SHOWN, [*self.small, (side, f"{name} ({seen.width} x {seen.height})")])
        if not seen.grey or (tinted and seen.transparent):
            self.coloured += count
            self.coloured_names = [*self.coloured_names, name][:SHOWN]
        if seen.largest is not None:
            bits = max(8, seen.largest.bit_length())
            self.depths[bits] += count
            self.deep = nlargest(SHOWN, [*self.deep, (bits, name)])


def facts_of(parts: Sequence[Part], background: Colour | None) -> Facts:
    """Read the headers of all parts. background: laid under transparent images."""
    whole, tinted = Facts(), background is not None and len(set(background)) > 1
    for part in parts:
        if isinstance(part.files, Tensor):
            channels, height, width = part.files.shape[1:]
            whole.add(Header(channels == 1, width, height, False), part.where, tinted, len(part.rows))
            continue
        read = partial(read_headers, part.files, part.rows.tolist(), part.where, tinted)
        join(whole, remembered(key_of("facts", part.key, tinted), read, lambda found: not found["passing"]))
    return whole


def join(whole: Facts, found: dict[str, Any]) -> None:
    """Add what `read_headers` has found, from JSON or not."""
    for name in ("sides", "depths"):
        getattr(whole, name).update({int(value): count for value, count in found[name].items()})
    whole.small = nsmallest(SHOWN, [*whole.small, *map(tuple, found["small"])])
    whole.deep = nlargest(SHOWN, [*whole.deep, *map(tuple, found["deep"])])
    whole.coloured += found["coloured"]
    whole.coloured_names = [*whole.coloured_names, *found["coloured_names"]][:SHOWN]


def read_headers(files: Encoded, rows: Sequence[int], where: str, tinted: bool) -> dict[str, Any]:
    facts = Facts()
    with progress_bar(len(rows), f"{where}: sizes") as advance:
        for start in range(0, len(rows), TASK * TASKS):
            tasks = [rows[i : i + TASK] for i in range(start, min(start + TASK * TASKS, len(rows)), TASK)]
            for task, headers in zip(tasks, decoders().map(partial(headers_of, files), tasks), strict=True):
                for row, seen in zip(task, headers, strict=True):
                    if seen is None:
                        facts.passing += 1
                    elif isinstance(seen, Header):
                        facts.add(seen, files.name(row), tinted)
                advance(count=len(task))
    return {**vars(facts), "sides": dict(facts.sides), "depths": dict(facts.depths)}


def headers_of(files: Encoded, rows: Sequence[int]) -> list[Header | BrokenImageError | None]:
    """The header of each image, or why it has none; nothing where the file cannot be read at the moment."""
    found: list[Header | BrokenImageError | None] = []
    for row in rows:
        try:
            with files.open(row) as file:
                found.append(header(file))
        except BrokenImageError as error:
            found.append(error)
        except OSError:
            found.append(None)
    return found
