"""Images with more than eight bits per channel, of which Pillow keeps the upper eight or all.

The same type of file holds 8, 10, 12 or 16 bits of values, and nothing in it says which; `headers` decides that for a
whole set by the largest values.
"""

import sys
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFile

DEEP = 0xFFFF  # the largest value that is read
OTHER_BYTE = {
    f"{mode};16{order}": f"{mode};16{other}"
    for mode in ("RGB", "RGBA", "RGBX")
    for order, other in (("B", "L"), ("L", "B"), ("N", "B" if sys.byteorder == "little" else "L"))
}
"""Pillow's decoder of 16-bit values that keeps the lower byte, by the one that keeps the upper: the same bytes read as
numbers of the other byte order"""


def is_deep(image: ImageFile.ImageFile) -> bool:
    """Whether an opened image that is not loaded yet has more than eight bits per channel."""
    return image.mode.startswith("I") or any(
        raw in OTHER_BYTE or raw == "LA;16B" for raw in (raw_mode(tile) for tile in image.tile)
    )


def raw_mode(tile: ImageFile._Tile) -> str:
    """How the bytes of a tile are laid out in its file."""
    first = tile.args[0] if isinstance(tile.args, tuple) and tile.args else tile.args
    return first if isinstance(first, str) else ""


def largest_value(image: Image.Image) -> int:
    """The largest value of a deep image, alpha aside; of colours, whose upper bytes Pillow keeps, that with any lower.

    Errors: ValueError for values of more than 16 bits.
    """
    if image.mode.startswith("I"):
        return int(whole_values(image).max())
    return int(np.asarray(image)[..., :3].max()) << 8 | 0xFF


def to_eight_bits(image: Image.Image, bits: int, reopen: Callable[[], ImageFile.ImageFile]) -> Image.Image:
    """Scale the values 0 to 2**bits - 1 of a deep image to 0 to 255, rounding down; larger values become 255.

    reopen: gives the image anew, not loaded, for the lower bytes of colours. Errors: ValueError, OSError.
    """
    if image.mode.startswith("I"):
        return Image.fromarray(scaled(whole_values(image), bits))
    if bits == 16:
        return image
    upper, colours = np.asarray(image), slice(0, 3)
    values = upper[..., colours].astype(np.int32) << 8 | lower_bytes(reopen())
    return Image.fromarray(np.concatenate([scaled(values, bits), upper[..., 3:]], -1), image.mode)


def scaled(values: np.ndarray, bits: int) -> np.ndarray:
    return np.minimum(values >> (bits - 8), 255).astype(np.uint8)


def whole_values(image: Image.Image) -> np.ndarray:
    """int (H, W). Errors: ValueError for values of more than 16 bits."""
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > DEEP:
        raise ValueError(f"values from {values.min()} to {values.max()}; up to 16 bits are read")
    return values


def lower_bytes(image: ImageFile.ImageFile) -> np.ndarray:
    """The lower bytes of three channels of 16 bits, (H, W, 3). Errors: ValueError where Pillow does not give them."""
    grey = raw_mode(image.tile[0]) == "LA;16B"
    tiles = []
    for tile in image.tile:
        other = "RGBA" if grey else OTHER_BYTE.get(raw_mode(tile))
        if other is None:
            raise ValueError(f"the lower bits of {raw_mode(tile)} cannot be read")
        tiles.append(tile._replace(args=(other, *tile.args[1:]) if isinstance(tile.args, tuple) else other))
    image.tile = tiles
    values = np.asarray(image)
    # Four bytes of a pixel with alpha: the grey value's upper and lower byte, then alpha's.
    return np.repeat(values[..., 1:2], 3, -1) if grey else values[..., :3]
