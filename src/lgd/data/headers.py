"""The size and channels that the images of a set suggest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from torch import Tensor

from lgd.config import DatasetConfig
from lgd.errors import UserError
from lgd.progress import progress_bar

from .cache import key_of, remembered
from .decode import BrokenImageError, header
from .parts import Part
from .stores import Encoded

LARGEST_SIDE = 32
"""most pixels of a side that is chosen by the images: what a small generator learns in minutes on a CPU"""
LEAST_SIDE = 8


def resolved(config: DatasetConfig, parts: Sequence[Part]) -> DatasetConfig:
    """With the size and channels that the images suggest, where they are left open.

    Grey where all images are; the largest multiple of 4 up to `LARGEST_SIDE` pixels that no image is smaller than.
    """
    if config.size and config.channels:
        return config
    facts = [facts_of(part) for part in parts]
    side = min(fact["side"] for fact in facts)
    if not config.size and side < LEAST_SIDE:
        smallest = min(facts, key=lambda fact: fact["side"])["smallest"]
        raise UserError(
            f"{smallest}: {side} pixels are too few; at least {LEAST_SIDE} x {LEAST_SIDE} are needed"
            f" (--dataset.size {LEAST_SIDE} --skip-broken leaves smaller images out)"
        )
    return replace(
        config,
        size=config.size or min(side, LARGEST_SIDE) // 4 * 4,
        channels=config.channels or (1 if all(fact["grey"] for fact in facts) else 3),
    )


def facts_of(part: Part) -> dict:
    if isinstance(part.files, Tensor):
        return {"grey": part.files.shape[1] == 1, "side": min(part.files.shape[2:]), "smallest": part.where}
    return remembered(key_of("headers", part.key), partial(headers, part, part.files))


def headers(part: Part, files: Encoded) -> dict[str, object]:
    """What the first bytes of all files say; those that cannot be read are found when they are decoded."""
    grey, side, smallest = True, 2**31, ""
    with progress_bar(len(part.rows), f"{part.where}: sizes") as advance:
        for row in part.rows.tolist():
            advance()
            try:
                with files.open(row) as file:
                    channels, shorter = header(file)
            except (BrokenImageError, OSError):
                continue
            grey = grey and channels == 1
            if shorter < side:
                side, smallest = shorter, files.name(row)
    return {"grey": grey, "side": side, "smallest": smallest}
