"""The size, channels and bits that most images of a set suggest; the few that differ are named."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from lgd.config import DatasetConfig
from lgd.errors import UserError

from .decode import colour_of
from .facts import Facts, facts_of
from .messages import Tell, listed
from .parts import Part

LEAST_SIDE = 8
Bits = Literal[0, 8, 10, 12, 14, 16]
BITS: tuple[Bits, ...] = (8, 10, 12)
"""of values in images of 16 bits that would be nearly black if they were read as 16-bit"""


def few(count: int) -> int:
    """The most of `count` images that do not decide for all: a tenth, and one of three or more."""
    return max(count // 10, 1 if count > 2 else 0)


def resolved(config: DatasetConfig, parts: Sequence[Part], tell: Tell) -> DatasetConfig:
    """Fill in the size, channels and bits that most images suggest, where the configuration leaves them open.

    The size is the largest multiple of 4 up to `LARGEST_SIDE` pixels that all but a few images reach. Errors: UserError
    naming the smaller images, unless they are to be left out.
    """
    background = colour_of(config.background)
    if config.size and config.channels and config.bits:
        return config
    facts, where = facts_of(parts, background), parts[0].where
    if not facts.sides:  # every image is broken, which is told when they are decoded
        return replace(config, size=config.size or LEAST_SIDE, channels=config.channels or 3)
    return replace(
        config,
        size=config.size or chosen_size(facts, config.skip_broken),
        channels=config.channels or chosen_channels(facts, where, tell),
        bits=config.bits or chosen_bits(facts, where, tell),
    )


def chosen_size(facts: Facts, skip_small: bool) -> int:
    """Errors: UserError naming the images that are smaller, unless they are to be left out."""
    images = facts.sides.total()
    size = least_of(facts.sides, few(images)) // 4 * 4
    if size < LEAST_SIDE:
        side, name = facts.small[0]
        raise UserError(f"{name}: {side} pixels are too few; at least {LEAST_SIDE} x {LEAST_SIDE} are needed")
    smaller = sum(count for side, count in facts.sides.items() if side < size)
    if smaller and not skip_small:
        least = facts.small[0][0] // 4 * 4
        keep = f"; --dataset.size {least} keeps all" if least >= LEAST_SIDE else ""
        raise UserError(
            f"{smaller} of {images} images {'is' if smaller == 1 else 'are'} smaller than {size} x {size} pixels:"
            f" {listed([name for side, name in facts.small if side < size], smaller)}."
            f" --dataset.size {size} --skip-broken leaves them out{keep}"
        )
    return size


def chosen_channels(facts: Facts, where: str, tell: Tell) -> Literal[1, 3]:
    """1 where all but a few images are grey, else 3."""
    images = facts.sides.total()
    if facts.coloured > few(images):
        return 3
    if facts.coloured:
        tell(
            f"{where}: read as grey, as most images are; {facts.coloured} of {images} have colours"
            f" ({listed(facts.coloured_names, facts.coloured)}), which --dataset.channels 3 keeps"
        )
    return 1


def chosen_bits(facts: Facts, where: str, tell: Tell) -> Bits:
    """The bits that hold the values of all but a few images of 16 bits; 0 where no image has more than eight.

    Values of more than 12 bits are taken for 16-bit ones, as dark as they may be.
    """
    images = facts.depths.total()
    if not images:
        return 0
    depth = -least_of({-bits: count for bits, count in facts.depths.items()}, few(images))
    chosen: Bits = next((bits for bits in BITS if depth <= bits), 16)
    if depth < 16:
        larger = sum(count for bits, count in facts.depths.items() if bits > chosen)
        names = listed([name for bits, name in facts.deep if bits > chosen], larger)
        clipped = f". Larger values become white in {names}" if larger else ""
        tell(
            f"{where}: most of {images} images of 16 bits hold no value above {2**depth - 1} and are read as"
            f" {chosen}-bit; --dataset.bits says otherwise{clipped}"
        )
    return chosen


def least_of(counts: Mapping[int, int], left_out: int) -> int:
    """The smallest value, when the images of the `left_out` smallest ones are left out."""
    for value in sorted(counts):
        left_out -= counts[value]
        if left_out < 0:
            return value
    raise AssertionError("every image is left out")
