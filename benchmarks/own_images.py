"""Write two folders of images as users have them: small grey PNGs, and files of many modes and sizes.

    python benchmarks/own_images.py OUT [--each 40]
    lgd compare folder:OUT/digits --methods random dit lgd --runs 1 --out RUN

OUT/digits: scikit-learn's digits at 28 x 28, grey PNGs, 10 classes, no split. OUT/shapes: drawn shapes of five classes
in train/ and val/, each of another size: JPEGs of modes L, RGB and CMYK, some rotated with an EXIF orientation, and
PNGs of modes P, LA, RGBA and 16 bits. Results: image-folders.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from math import cos, pi, sin
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from sklearn.datasets import load_digits

SIDE = 512
"""pixels of the canvas that a shape is drawn on, to be made smaller"""
EXIF_ORIENTATION = 0x0112
STORED = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
"""by EXIF orientation, the rotation of the stored pixels"""


def draw_digits(root: Path, each: int) -> None:
    digits = load_digits()
    for label in range(10):
        folder = root / str(label)
        folder.mkdir(parents=True)
        for number, image in enumerate(digits.images[digits.target == label][:each]):
            small = Image.fromarray((image * (255 / 16)).round().astype(np.uint8))
            small.resize((28, 28), Image.Resampling.BICUBIC).save(folder / f"{number:03d}.png")


def polygon(corners: int, inner: float, turn: float) -> list[tuple[float, float]]:
    """Return points around (0, 0). inner: radius of every second corner."""
    angles = [turn + 2 * pi * k / corners - pi / 2 for k in range(corners)]
    return [(cos(a) * (inner if k % 2 else 1.0), sin(a) * (inner if k % 2 else 1.0)) for k, a in enumerate(angles)]


def bar(width: float, height: float) -> list[tuple[float, float]]:
    return [(-width, -height), (width, -height), (width, height), (-width, height)]


SHAPES: dict[str, list[list[tuple[float, float]]]] = {
    "circle": [polygon(60, 1.0, 0.0)],
    "cross": [bar(0.3, 1.0), bar(1.0, 0.3)],
    "square": [bar(0.8, 0.8)],
    "star": [polygon(10, 0.4, 0.0)],
    "triangle": [polygon(3, 1.0, 0.0)],
}


def draw_shape(name: str, random: np.random.Generator) -> Image.Image:
    """Draw a shape in one colour, slightly rotated and off centre, on a mottled background of another (RGB)."""
    ground, colour = random.integers(0, 256, (2, 3))
    while abs(int(ground.mean()) - int(colour.mean())) < 70:
        ground, colour = random.integers(0, 256, (2, 3))
    mottled = ground + random.normal(0, 25, (12, 12, 3))
    image = Image.fromarray(mottled.clip(0, 255).astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    radius, turn = SIDE * random.uniform(0.25, 0.4), random.uniform(-0.25, 0.25)
    centre = SIDE / 2 + random.uniform(-0.1, 0.1, 2) * SIDE
    draw = ImageDraw.Draw(image)
    for part in SHAPES[name]:
        points = [(cos(turn) * x - sin(turn) * y, sin(turn) * x + cos(turn) * y) for x, y in part]
        draw.polygon([(centre[0] + radius * x, centre[1] + radius * y) for x, y in points], tuple(map(int, colour)))
    return image.filter(ImageFilter.GaussianBlur(2))


def save_jpeg(mode: str, orientation: int = 1) -> Callable[[Image.Image, Path], None]:
    def save(image: Image.Image, path: Path) -> None:
        exif = Image.Exif()
        exif[EXIF_ORIENTATION] = orientation
        stored = image.transpose(STORED[orientation]) if orientation in STORED else image
        stored.convert(mode).save(path.with_suffix(".jpg"), quality=90, exif=exif)

    return save


def save_png(mode: str) -> Callable[[Image.Image, Path], None]:
    def save(image: Image.Image, path: Path) -> None:
        if mode == "I;16":
            deep = np.asarray(image.convert("L")).astype(np.uint16) * 257
            stored = Image.fromarray(deep)
        else:
            stored = image.convert(mode)
        stored.save(path.with_suffix(".png"))

    return save


KINDS = [
    *(save_jpeg(mode) for mode in ("RGB", "RGB", "L", "CMYK")),
    *(save_jpeg("RGB", turned) for turned in (6, 8)),
    *(save_png(mode) for mode in ("P", "LA", "RGBA", "I;16")),
]


def draw_shapes(root: Path, each: int) -> None:
    random = np.random.default_rng(0)
    for part, count in (("train", each), ("val", each // 2)):
        for name in SHAPES:
            folder = root / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                width, height = (int(side) for side in random.integers(48, 200, 2))
                longest = int(1.4 * min(width, height))  # narrower, the shape itself would be cut
                width, height = min(width, longest), min(height, longest)
                square = draw_shape(name, random).resize((max(width, height),) * 2, Image.Resampling.LANCZOS)
                left, top = (square.width - width) // 2, (square.height - height) // 2
                cut = square.crop((left, top, left + width, top + height))
                KINDS[number % len(KINDS)](cut, folder / f"{number:03d}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--each", type=int, default=40, help="images per class")
    options = parser.parse_args()
    draw_digits(options.out / "digits", options.each)
    draw_shapes(options.out / "shapes", options.each)


if __name__ == "__main__":
    main()
