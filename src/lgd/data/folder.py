"""Image folders: one folder per class with PNG files in it."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from lgd.errors import UserError
from lgd.progress import log
from lgd.storage.files import safe_name

from .class_names import composed
from .decode import FORMATS, MOST_PIXELS
from .imageset import ImageSet
from .tree import LeftOut, class_folders


def decode_image(path: Path) -> Tensor:
    """uint8 (C, H, W) of a grey or RGB image file. Errors: UserError naming a file that cannot be read.

    The file may be an attacker's: formats that are programs are not tried, and absurd sizes are not decoded.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: not a file")
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise UserError(f"{path}: {image.width} x {image.height} pixels, too large")
            if image.mode not in ("L", "RGB"):
                raise UserError(f"{path}: mode {image.mode}; only grey (L) and RGB images are read here")
            array = np.array(image)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UserError:
        raise
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: corrupt, not an image ({error})") from None
    return torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1).copy())


def read_folder(
    root: Path, class_names: Sequence[str], shape: tuple[int, int, int], folders: Sequence[str] = ()
) -> ImageSet:
    """Read `root`/<class>/*.png as a set over `class_names`, images of `shape` (C, H, W).

    folders: of the classes, where they have other names. Errors: UserError naming the first unknown class, the first
    empty or missing class, or the first image of another size or mode.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such directory")
    folders = folders or folders_of(root, class_names)
    unknown = sorted(set(class_folders(root).values()) - set(folders))
    if unknown:
        raise UserError(f"{root / unknown[0]}: not one of the classes: {', '.join(class_names)}")
    images, labels = [], []
    others: Counter[str] = Counter()
    for label, name in enumerate(folders):
        files = png_files(root / name)
        if not files:
            raise UserError(f"{root / name}: no PNG images of class {class_names[label]!r}")
        others.update(path.suffix or "without a suffix" for path in (root / name).iterdir() if path not in set(files))
        for path in files:
            image = decode_image(path)
            if tuple(image.shape) != shape:
                raise UserError(f"{path}: {describe(image.shape)}, but the test images are {describe(shape)}")
            images.append(image)
            labels.append(label)
    if others:
        log.info(f"{root}: {LeftOut(others)}; PNG images are read here")
    return ImageSet(torch.stack(images), torch.tensor(labels), tuple(class_names))


def folders_of(root: Path, class_names: Sequence[str]) -> list[str]:
    """The folder of each class: by its encoded name, or by any that is the same in normalised Unicode."""
    there = class_folders(root)
    names = [(safe_name(name), composed(name)) for name in class_names]
    return [safe if safe in there.values() else there.get(plain, safe) for safe, plain in names]


def png_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.suffix.lower() == ".png")


def folder_files(root: Path, class_names: Sequence[str]) -> list[str]:
    """The files that `read_folder` reads, relative to `root`, in its order."""
    return [f"{name}/{path.name}" for name in folders_of(root, class_names) for path in png_files(root / name)]


def describe(shape: Sequence[int]) -> str:
    """(C, H, W) in words."""
    channels, height, width = shape
    return f"{width} x {height} {'grey' if channels == 1 else 'RGB' if channels == 3 else f'{channels}-channel'}"
