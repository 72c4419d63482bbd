"""Small image sets for the tests of this folder."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lgd.config import DatasetConfig
from lgd.data.imageset import Splits
from lgd.data.splits import load_splits


def picture(seed: int, size: tuple[int, int] = (32, 32), mode: str = "RGB") -> Image.Image:
    """Noise, different for each seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(noise).convert(mode)


def put(path: Path, seed: int = 0, size: tuple[int, int] = (32, 32), mode: str = "RGB") -> Path:
    """Save a picture in the format of the path's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(seed, size, mode).save(path)
    return path


def folder(root: Path, classes: Sequence[str], count: int = 4, **options: Any) -> Path:
    """`count` PNGs in each of `classes`, all different."""
    for k, name in enumerate(classes):
        for i in range(count):
            put(root / name / f"{i}.png", 1000 * k + i + sum(map(ord, root.name)), **options)
    return root


def encoded(seed: int, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    picture(seed).save(file, kind)
    return file.getvalue()


def load(source: object, **options: Any) -> Splits:
    """Read a source, a folder by its path."""
    text = source if isinstance(source, str) else f"folder:{source}"
    return load_splits(DatasetConfig(source=text, **options))


def sizes(splits: Splits) -> tuple[int, int, tuple[str, ...]]:
    """Training images, test images, classes."""
    return len(splits.train), len(splits.test), splits.train.class_names
