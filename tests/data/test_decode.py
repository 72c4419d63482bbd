"""Any image file becomes the same pixels as with torchvision's loader, Resize and CenterCrop."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from lgd.data.decode import BrokenImageError, decode, header

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (16, 16), dtype=np.uint8)
RGB = RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8)
ALPHA = RNG.integers(0, 256, (16, 16, 1), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (16, 16), dtype=np.uint16)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, kind, **options)
    file.seek(0)
    return file


def luma(rgb: np.ndarray) -> np.ndarray:
    """ITU-R 601-2, as Pillow's fixed-point arithmetic has it."""
    return ((rgb.astype(int) * (19595, 38470, 7471)).sum(-1) + 0x8000) >> 16


@pytest.mark.parametrize(
    ("image", "kind", "rgb"),
    [
        (Image.fromarray(GREY), "PNG", np.stack([GREY] * 3, -1)),
        (Image.fromarray(GREY).convert("1", dither=Image.Dither.NONE), "PNG", np.stack([(GREY > 127) * 255] * 3, -1)),
        (Image.fromarray(np.concatenate([GREY[..., None], ALPHA], -1), "LA"), "PNG", np.stack([GREY] * 3, -1)),
        (Image.fromarray(RGB), "PNG", RGB),
        (Image.fromarray(np.concatenate([RGB, ALPHA], -1)), "PNG", RGB),
        (Image.fromarray(np.concatenate([RGB, ALPHA], -1)), "WEBP", None),
        (Image.fromarray(DEEP), "PNG", np.stack([DEEP // 256] * 3, -1)),
        (Image.fromarray(DEEP), "TIFF", np.stack([DEEP // 256] * 3, -1)),
        (Image.fromarray(RGB).convert("CMYK"), "TIFF", RGB),
    ],
)
def test_every_mode(image: Image.Image, kind: str, rgb: np.ndarray | None) -> None:
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    expected = RGB if rgb is None else rgb
    got = decode(encoded(image, kind, **options), 3, 16)
    assert got.dtype == np.uint8
    assert np.array_equal(got, expected.transpose(2, 0, 1))
    grey = decode(encoded(image, kind, **options), 1, 16)
    assert grey.shape == (1, 16, 16)
    assert np.array_equal(grey[0], luma(expected))
    seen = header(encoded(image, kind, **options))
    assert (seen.grey, seen.width, seen.height) == (expected.std(-1).max() == 0, 16, 16)
    assert (seen.largest is None) == (image.mode != "I;16")


@pytest.mark.parametrize("transparency", [None, 3, bytes(range(0, 256, 16)) * 2])
def test_palettes_with_and_without_transparency(transparency: object) -> None:
    indices = RNG.integers(0, 32, (16, 16), dtype=np.uint8)
    palette = RNG.integers(0, 256, (32, 3), dtype=np.uint8)
    image = Image.frombytes("P", (16, 16), indices.tobytes())
    image.putpalette(palette.tobytes())
    options = {} if transparency is None else {"transparency": transparency}
    assert np.array_equal(decode(encoded(image, **options), 3, 16), palette[indices].transpose(2, 0, 1))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_stand_upright(orientation: int) -> None:
    """The camera stored the picture turned or mirrored, and said so."""
    undo = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: np.swapaxes(a, 0, 1),
        6: lambda a: np.rot90(a, 1),  # stored a quarter turn to the left of upright
        7: lambda a: np.swapaxes(np.rot90(a, 2), 0, 1),
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(undo(RGB)))
    assert np.array_equal(decode(encoded(stored, exif=exif), 3, 16), RGB.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("width", "height", "size", "resize"),
    [(53, 37, 16, 0), (37, 53, 16, 0), (40, 40, 16, 0), (17, 90, 16, 0), (33, 32, 32, 0), (53, 37, 14, 16),
     (40, 40, 28, 32), (30, 40, 28, 32), (28, 28, 28, 32)],
)  # fmt: skip
def test_resize_and_crop_are_torch_s_own(width: int, height: int, size: int, resize: int) -> None:
    seeds = torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(1))
    smooth = F.interpolate(seeds, (height, width), mode="bicubic")
    image = (smooth.clamp(0, 1) * 255).round()
    got = decode(encoded(Image.fromarray(image[0].permute(1, 2, 0).byte().numpy())), 3, size, resize=resize)
    shorter = resize or size
    longer = shorter * max(width, height) // min(width, height)
    shape = (longer, shorter) if height > width else (shorter, longer)
    small = F.interpolate(image, shape, mode="bilinear", antialias=True)
    top, left = round((shape[0] - size) / 2), round((shape[1] - size) / 2)
    expected = small[0, :, top : top + size, left : left + size].numpy()
    assert np.abs(got - expected).max() < 1.5  # Pillow rounds after each direction


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an image"),
        (b"GIF89a nothing more", "."),
        (encoded(Image.fromarray(RGB)).getvalue()[:300], "truncated|broken|incomplete"),
        (encoded(Image.fromarray(RGB), "JPEG").getvalue()[:-200], "Truncated"),
        (encoded(Image.fromarray(GREY.astype(np.float32)), "TIFF").getvalue(), "floating-point values"),
        (encoded(Image.fromarray(GREY.astype(np.int32) - 5), "TIFF").getvalue(), "values from"),
        (encoded(Image.fromarray(RGB[:8])).getvalue(), "16 x 8 pixels, smaller than 16 x 16"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "."),
    ],
)
def test_what_is_broken_says_why(data: bytes, message: str) -> None:
    with pytest.raises(BrokenImageError, match=message) as caught:
        decode(io.BytesIO(data), 3, 16)
    assert str(caught.value)
    assert "\n" not in str(caught.value)


def test_random_bytes_never_raise_anything_else() -> None:
    """Every prefix of real files, and files with a byte changed."""
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"):
        data = encoded(Image.fromarray(RGB), kind).getvalue()
        for end in range(0, len(data), 7):
            changed = bytearray(data)
            changed[end] ^= 0xFF
            for damaged in (data[:end], bytes(changed)):
                with suppress(BrokenImageError):
                    assert decode(io.BytesIO(damaged), 3, 16).shape == (3, 16, 16)


def test_a_file_is_left_closed(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(RGB).save(path)
    with path.open("rb") as file:
        decode(file, 3, 16)
    path.write_bytes(b"")
    with path.open("rb") as file, pytest.raises(BrokenImageError):
        header(file)
