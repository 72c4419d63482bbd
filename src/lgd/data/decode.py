"""One encoded image to pixels: any mode, any size, as torchvision's loader and its Resize and CenterCrop do it."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageColor, ImageFile, UnidentifiedImageError

from lgd.errors import UserError

from .deep import is_deep, largest_value, to_eight_bits

GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"})
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "AVIF")
"""none of them a program, as PostScript is"""
MOST_PIXELS = 2**26  # more are not decoded: a file of a few kilobytes can claim any size
Transpose = Image.Transpose
TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
"""from the pixels as stored to the upright image, by the EXIF orientation"""

Colour = tuple[int, int, int]

# Pillow's remarks on metadata, several lines for a file; images that are too large are refused in a line of ours.
for _category in (UserWarning, Image.DecompressionBombWarning):
    warnings.filterwarnings("ignore", category=_category, module=r"PIL\.")


class BrokenImageError(ValueError):
    """This file or row is no image that can be used; the message says why."""


@dataclass(frozen=True)
class Header:
    """The facts of an image before it is resized."""

    grey: bool
    width: int
    height: int
    transparent: bool
    largest: int | None = None
    """the largest value, of images with more than eight bits per channel"""


def header(file: BinaryIO) -> Header:
    """Read the first bytes of an image; all of them where it has more than eight bits. Errors: BrokenImageError."""
    with open_image(file) as image, reasons():
        grey = image.mode in GREY_MODES
        transparent = image.has_transparency_data
        largest = largest_value(image) if is_deep(image) else None
        return Header(grey, *image.size, transparent, largest)


def decode(
    file: BinaryIO, channels: int, size: int, bits: int = 16, background: Colour | None = None, resize: int = 0
) -> np.ndarray:
    """Decode to uint8 (C, size, size): turned by EXIF, grey or RGB, resized bilinearly by the shorter side, cropped.

    resize: of the shorter side; 0 stands for `size`. bits: how many hold the values of images with more than eight.
    background: laid under transparent images, whose transparency is dropped otherwise. Errors: BrokenImageError, also
    for an image smaller than `size`; OSError where the file cannot be read at the moment.
    """
    with open_image(file) as image:
        if min(image.size) < size:
            raise BrokenImageError(f"{image.width} x {image.height} pixels, smaller than {size} x {size}")
        with reasons():
            flat = to_mode(upright(image, file, bits), channels, background)
    array = np.asarray(resize_and_crop(flat, size, resize or size))
    return array[None] if channels == 1 else array.transpose(2, 0, 1)


def upright(image: ImageFile.ImageFile, file: BinaryIO, bits: int) -> Image.Image:
    """Load an image with eight bits per channel, turned by its EXIF tag."""
    deep = is_deep(image)
    image.load()
    turn = TURNS.get(orientation(image))
    flat = to_eight_bits(image, bits, lambda: open_image(file)) if deep else image
    return flat if turn is None else flat.transpose(turn)


def orientation(image: Image.Image) -> int:
    """The EXIF orientation of a loaded image, 1 to 8; 1 where nothing legible says otherwise."""
    with suppress(Exception):  # Pillow raises many kinds for odd EXIF, which says nothing about the pixels
        tag = image.getexif().get(ExifTags.Base.Orientation, 1)
        return int(tag[0] if isinstance(tag, (tuple, bytes)) else tag)
    return 1


def to_mode(image: Image.Image, channels: int, background: Colour | None = None) -> Image.Image:
    """Grey (L) or RGB. Errors: BrokenImageError for values without a range, and what Pillow raises for a bad file."""
    if image.mode == "F":
        raise BrokenImageError("floating-point values, which have no range")
    if background is not None and image.has_transparency_data:
        ground = Image.new("RGBA", image.size, (*background, 255))
        image = Image.alpha_composite(ground, image.convert("RGBA"))
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    mode = "L" if channels == 1 else "RGB"
    return image if image.mode == mode else image.convert(mode)


def colour_of(name: str) -> Colour | None:
    """RGB of `dataset.background`: a name such as white, or #rrggbb; none where it is empty. Errors: UserError."""
    try:
        red, green, blue = ImageColor.getrgb(name)[:3] if name else (0, 0, 0)
    except ValueError:
        raise UserError(f"dataset.background: unknown colour {name!r}; use a name such as white, or #rrggbb") from None
    return (red, green, blue) if name else None


def resize_and_crop(image: Image.Image, size: int, shorter: int) -> Image.Image:
    """Compute torchvision's Resize(shorter) and CenterCrop(size)."""
    width, height = image.size
    if min(width, height) != shorter:
        longer = int(shorter * max(width, height) / min(width, height))
        width, height = (shorter, longer) if width <= height else (longer, shorter)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image if width == height == size else image.crop((left, top, left + size, top + size))


def open_image(file: BinaryIO) -> ImageFile.ImageFile:
    """Open an image without loading its pixels. Errors: BrokenImageError, OSError."""
    file.seek(0)
    with reasons():
        image = Image.open(file, formats=FORMATS)
        if image.width * image.height > MOST_PIXELS:
            raise BrokenImageError(f"{image.width} x {image.height} pixels, too large")
        return image


@contextmanager
def reasons() -> Iterator[None]:
    """Turn the many kinds of errors that Pillow raises for a bad file into BrokenImageError.

    Errors of this moment stay what they are: too little memory, and an OSError of the disk or the network.
    """
    try:
        yield
    except (BrokenImageError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise BrokenImageError("not an image of a kind that is read here") from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise BrokenImageError(" ".join(str(error).split()).rstrip(".") or type(error).__name__) from None
