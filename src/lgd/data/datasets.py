"""Image sets by their source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lgd.config import DatasetConfig
from lgd.errors import UserError, nearest

from .decode import BrokenImageError, header
from .imageset import ImageSet, Splits, stratified_split
from .reader import Encoded, FileImages
from .table import read_parquet
from .tree import JUDGING, Links, TreeFiles, class_folders, image_names

LARGEST_SIDE = 64
"""most pixels a side that is chosen without being asked for"""


@dataclass(frozen=True)
class Part:
    """Images found, not yet read."""

    files: Encoded
    rows: Tensor
    labels: Tensor
    class_names: tuple[str, ...]


def load_splits(config: DatasetConfig) -> Splits:
    """The training and the judging part. With `judge_on = "validation"` the latter is cut from the training part.

    Errors: UserError for an unknown source, and naming the file or class that does not fit.
    """
    kind, _, rest = config.source.partition(":")
    if kind not in SOURCES:
        raise UserError(f"dataset.source: unknown {kind!r}{nearest(kind, SOURCES)}")
    splits = SOURCES[kind](rest, config)
    if config.judge_on == "validation":
        return Splits(*stratified_split(splits.train, config.validation_fraction, config.split_seed))
    return splits


def load_digits(_: str, config: DatasetConfig) -> Splits:
    """scikit-learn's 1,797 digits: grey 8 x 8, values 0 to 16 spread over 0 to 255; seeded stratified split."""
    from sklearn.datasets import load_digits as read

    digits = read()
    values = torch.from_numpy(digits.images)[:, None]  # (N, 1, 8, 8)
    images = (values * (255 / 16)).round().to(torch.uint8)
    labels = torch.from_numpy(digits.target).long()
    whole = ImageSet(images, labels, tuple(str(name) for name in digits.target_names))
    return Splits(*stratified_split(whole, config.test_fraction, config.split_seed))


def load_folder(path: str, config: DatasetConfig) -> Splits:
    """PATH/train with PATH/test or PATH/val, or PATH with one folder per class, which is split."""
    root = Path(path).expanduser()
    train = root / "train"
    if not train.is_dir():
        return _splits([_folder(root, config)], config)
    judging = next((root / name for name in JUDGING if (root / name).is_dir()), None)
    return _splits([_folder(part, config) for part in (train, judging) if part is not None], config)


def load_parquet(paths: str, config: DatasetConfig) -> Splits:
    """TRAIN,TEST, or one file, which is split."""
    files = [Path(path).expanduser() for path in paths.split(",")]
    return _splits([_table(path, config) for path in files], config)


SOURCES: dict[str, Callable[[str, DatasetConfig], Splits]] = {
    "digits": load_digits,
    "folder": load_folder,
    "parquet": load_parquet,
}


def _folder(root: Path, config: DatasetConfig) -> Part:
    names = _classes(class_folders(root), config, str(root))
    links = Links()
    found = [image_names(root, name, links) for name in names]
    for name, images in zip(names, found, strict=True):
        if not images:
            raise UserError(f"{root / name}: no images of class {name!r}")
    labels = torch.repeat_interleave(torch.arange(len(names)), torch.tensor([len(images) for images in found]))
    files = TreeFiles.of(root, [name for part in found for name in part])
    return Part(files, torch.arange(len(labels)), labels, names)


def _table(path: Path, config: DatasetConfig) -> Part:
    found = read_parquet(path, config.image_column, config.label_column)
    names = _classes(found.known, config, str(path))
    place = {name: label for label, name in enumerate(names)}
    labels = torch.tensor([place.get(label, -1) for label in found.labels])
    rows = (labels >= 0).nonzero().flatten()
    return Part(found.rows, rows, labels[rows], names)


def _classes(there: Sequence[str], config: DatasetConfig, where: str) -> tuple[str, ...]:
    """The classes to use, in order. Errors: UserError naming one that is not there."""
    names = config.classes or tuple(there)
    for name in names:
        if name not in there:
            raise UserError(f"{where}: no class {name!r}{nearest(name, there)}")
    if len(names) < 2:
        raise UserError(f"{where}: needs at least two classes, not {', '.join(names) or 'none'}")
    return names


def _splits(parts: Sequence[Part], config: DatasetConfig) -> Splits:
    """Decode what was found; split the one part there is, or take the two."""
    if any(part.class_names != parts[0].class_names for part in parts):
        raise UserError(f"{config.source}: the test classes differ from the train classes")
    size, channels = config.size, config.channels
    if not (size and channels):
        headers = [_header(part, row) for part in parts for row in part.rows.tolist()]
        size = size or min(LARGEST_SIDE, min(side for _, side in headers)) // 4 * 4
        channels = channels or (1 if all(found == 1 for found, _ in headers) else 3)
    sets = [ImageSet(FileImages(p.files, p.rows, channels, size), p.labels, p.class_names) for p in parts]
    sets = [ImageSet(s.images, s.labels, s.class_names) for s in sets]
    if len(sets) == 1:
        return Splits(*stratified_split(sets[0], config.test_fraction, config.split_seed))
    return Splits(*sets)


def _header(part: Part, row: int) -> tuple[int, int]:
    try:
        with part.files.open(row) as file:
            return header(file)
    except BrokenImageError as error:
        raise UserError(f"{part.files.name(row)}: {error}") from None
