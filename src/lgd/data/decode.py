"""One encoded image to pixels: any mode, any size, as torchvision's loader and its Resize and CenterCrop do it."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"})
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
"""none of them a program, as PostScript is"""
MOST_PIXELS = 2**26
"""more are not decoded: a file of a few kilobytes can claim any size"""


class BrokenImageError(ValueError):
    """This file or row is no image that can be used; the message says why."""


def header(file: BinaryIO) -> tuple[int, int]:
    """(channels, shorter side) from the first bytes of a file. Errors: BrokenImageError."""
    with _open(file) as image:
        return 1 if image.mode in GREY_MODES else 3, min(image.size)


def decode(file: BinaryIO, channels: int, size: int, resize: int = 0) -> np.ndarray:
    """uint8 (C, size, size): orientation by EXIF, grey or RGB, shorter side to `resize` (bilinear), centre crop.

    resize: 0 stands for `size`. Transparency is dropped, 16-bit values keep their upper eight bits. Errors:
    BrokenImageError, also for an image smaller than `size`.
    """
    with _open(file) as image:
        if min(image.size) < size:
            raise BrokenImageError(f"{image.width} x {image.height} pixels, smaller than {size} x {size}")
        try:
            upright = ImageOps.exif_transpose(image)
            flat = to_mode(upright, channels)
        except BrokenImageError:
            raise
        except Exception as error:
            raise BrokenImageError(_reason(error)) from None
    array = np.asarray(resize_and_crop(flat, size, resize or size))
    return array[None] if channels == 1 else array.transpose(2, 0, 1)


def to_mode(image: Image.Image, channels: int) -> Image.Image:
    """Grey (L) or RGB. Errors: BrokenImageError for values without a range, and what Pillow raises for a bad file."""
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise BrokenImageError(f"values from {values.min()} to {values.max()}; up to 16 bits are read")
        image = Image.fromarray((values >> 8).astype(np.uint8))
    elif image.mode == "F":
        raise BrokenImageError("floating-point values, which have no range")
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    mode = "L" if channels == 1 else "RGB"
    image.load()
    return image if image.mode == mode else image.convert(mode)


def resize_and_crop(image: Image.Image, size: int, shorter: int) -> Image.Image:
    """torchvision's Resize(shorter) and CenterCrop(size)."""
    width, height = image.size
    if min(width, height) != shorter:
        longer = int(shorter * max(width, height) / min(width, height))
        width, height = (shorter, longer) if width <= height else (longer, shorter)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image if width == height == size else image.crop((left, top, left + size, top + size))


def _open(file: BinaryIO) -> Image.Image:
    try:
        image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        raise BrokenImageError("not an image of a kind that is read here") from None
    except Exception as error:  # Pillow raises many kinds for a bad file
        raise BrokenImageError(_reason(error)) from None
    if image.width * image.height > MOST_PIXELS:
        raise BrokenImageError(f"{image.width} x {image.height} pixels, too large")
    return image


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
