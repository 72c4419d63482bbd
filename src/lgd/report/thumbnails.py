"""Images as data URIs, and thumbnails within a budget."""

import base64
import io
from collections.abc import Callable, Iterable
from pathlib import Path

from PIL import Image

BUDGET = 10 * 2**20  # bytes of base64 for all thumbnails of a report: it stays below 15 MB with its figures
EXACT = 48  # pixels
SIDES = (160, 128, 96, 64, 48)


def data_uri(data: bytes, kind: str) -> str:
    """Return a file's bytes as the address of an image. kind: png, jpeg or svg+xml."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def thumbnail(image: Image.Image, side: int) -> str:
    """Return a data URI of the image, scaled down to `side` if it is larger: a PNG or a JPEG, whichever is smaller.

    Images of fewer than `EXACT` pixels a side are PNG: the page enlarges them, and JPEG's blocks would show.
    """
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    forms = {"png": encoded(small, "PNG", optimize=True)}
    if max(small.size) >= EXACT:
        forms["jpeg"] = encoded(small, "JPEG", quality=85)
    kind = min(forms, key=lambda name: len(forms[name]))
    return data_uri(forms[kind], kind)


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def fitting(images: Callable[[], Iterable[Image.Image]], budget: int = BUDGET) -> list[str]:
    """Return thumbnails of all images, of the largest side in `SIDES` with which they fit the budget together.

    images: called for each attempt, so that no more than one image is in memory.
    """
    for side in SIDES:
        uris, total = [], 0
        for image in images():
            uris.append(thumbnail(image, side))
            total += len(uris[-1])
            if total > budget and side != SIDES[-1]:
                break
        else:
            return uris
    return uris


def opened(path: Path) -> Image.Image:
    """Read an image as grey or RGB."""
    with Image.open(path) as image:
        return image.convert("L" if image.mode == "L" else "RGB")
