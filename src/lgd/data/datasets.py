"""Image sets by their source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from lgd.config import DatasetConfig
from lgd.errors import UserError, nearest
from lgd.progress import log, progress_bar

from .cache import key_of, prepare, remembered
from .class_names import pick, wanted_classes
from .decode import BrokenImageError, header
from .hub import read_hub
from .imageset import ImageSet, Splits, stratified_split
from .stores import Encoded, EncodedImages
from .table import Table, read_parquet
from .tree import JUDGING, class_folders, scan

LARGEST_SIDE = 32
"""most pixels of a side that is chosen by the images: what a small generator learns in minutes on a CPU"""
LEAST_SIDE = 8
SHOWN = 3
"""broken images that a message names"""


@dataclass(frozen=True)
class Part:
    """Images that were found and not yet read."""

    where: str
    files: Encoded
    rows: Tensor
    """numbers of the images in `files`, int64 (N,)"""
    labels: Tensor
    class_names: tuple[str, ...]
    key: str
    """changes with the files"""
    note: str = ""


@dataclass(frozen=True)
class Place:
    """Where a part is, and what classes are there."""

    where: str
    there: tuple[str, ...]
    part: Callable[[tuple[str, ...]], Part]
    """the images of the named classes. Errors: UserError naming one without images"""


def load_splits(config: DatasetConfig) -> Splits:
    """The training and the judging part. With `eval_split = "validation"` the latter is cut from the training part.

    Errors: UserError for an unknown source, and naming the file or class that does not fit.
    """
    if config.source == "digits":
        splits = load_digits(config)
    else:
        parts = find(config)
        config = resolved(config, parts)
        splits = as_splits([read(part, config) for part in parts], config)
    if config.eval_split == "validation":
        return Splits(*stratified_split(splits.train, config.validation_fraction, config.split_seed))
    return splits


@dataclass(frozen=True)
class Survey:
    """What is known of a set before it is decoded."""

    dataset: DatasetConfig
    """with size and channels"""
    train: int
    """images"""
    test: int
    class_names: tuple[str, ...]
    smallest: int
    """images of the smallest class, for training"""


def survey(config: DatasetConfig) -> Survey:
    """Count the images and look at their sizes. Errors: as `load_splits`, but for broken images."""
    parts = find(config)
    counts = [part.labels.bincount() for part in parts]
    if len(parts) == 1:
        held_out = (counts[0] * config.test_fraction).round().long().clamp_min(1)
        counts = [counts[0] - held_out, held_out]
        if (smallest := int(counts[0].min())) < 1:
            name, there = parts[0].class_names[int(counts[0].argmin())], smallest + int(held_out[counts[0].argmin()])
            raise UserError(
                f"{parts[0].where}: class {name!r} has {there} images, too few to hold out {config.test_fraction:.0%}"
            )
    train, test = (int(count.sum()) for count in counts)
    return Survey(resolved(config, parts), train, test, parts[0].class_names, int(counts[0].min()))


def load_digits(config: DatasetConfig) -> Splits:
    """scikit-learn's 1,797 digits: grey 8 x 8, values 0 to 16 spread over 0 to 255; seeded stratified split."""
    from sklearn.datasets import load_digits as read_digits

    digits = read_digits()
    values = torch.from_numpy(digits.images)[:, None]  # (N, 1, 8, 8)
    images = (values * (255 / 16)).round().to(torch.uint8)
    labels = torch.from_numpy(digits.target).long()
    return as_splits([ImageSet(images, labels, tuple(str(name) for name in digits.target_names))], config)


def as_splits(sets: Sequence[ImageSet], config: DatasetConfig) -> Splits:
    """The two sets there are, or the one, split."""
    if len(sets) == 1:
        return Splits(*stratified_split(sets[0], config.test_fraction, config.split_seed))
    return Splits(*sets)


def find(config: DatasetConfig) -> list[Part]:
    """The training and the judging part, or the whole where the source does not divide it.

    Errors: UserError, also where the two have different classes.
    """
    if not config.source:
        raise UserError("dataset.source is empty; say where the images are: --dataset.source folder:PATH")
    kind, colon, rest = config.source.partition(":")
    if kind not in SOURCES or not colon:
        known = ["digits", *(f"{name}:..." for name in SOURCES)]
        raise UserError(f"dataset.source: unknown {config.source!r}{nearest(config.source, known)}")
    if not rest:
        raise UserError(f"dataset.source: {config.source!r} needs a path or name after the colon")
    places = SOURCES[kind](rest, config)
    wanted = wanted_classes(config.classes)
    names = pick(places[0].there, wanted, places[0].where)
    for place in places[1:]:
        missing, more = set(names) - set(place.there), set(place.there) - set(names)
        if missing or (more and not wanted):
            name = min(missing or more)
            has, lacks = (places[0], place) if missing else (place, places[0])
            raise UserError(f"{lacks.where}: no class {name!r}, unlike {has.where}; both need the same classes")
    return [place.part(names) for place in places]


def find_folder(paths: str, config: DatasetConfig) -> list[Place]:
    """TRAIN,TEST; or a folder with `train` and one of `JUDGING`; or one with the classes."""
    root = Path(paths).expanduser()
    if "," in paths and not root.exists():
        return [folder(Path(path).expanduser()) for path in pair(paths)]
    if not (root / "train").is_dir():
        return [folder(root)]
    judging = [path for path in (root / name for name in JUDGING) if path.is_dir() and class_folders(path)]
    found = [root / "train", *judging[:1]]
    for path in found:
        if path.is_symlink():
            raise UserError(f"{path} is a symbolic link; give where it leads: --dataset.source folder:TRAIN,TEST")
    return [folder(path) for path in found]


def pair(paths: str) -> list[str]:
    """TRAIN and TEST. Errors: UserError."""
    parts = paths.split(",")
    if len(parts) > 2:
        raise UserError(f"dataset.source: {paths!r} names {len(parts)} paths; TRAIN,TEST are two")
    return parts


def folder(root: Path) -> Place:
    there = class_folders(root)
    if not there:
        raise UserError(f"{root}: no class folders in it; images are expected in {root / 'CLASS'}")

    def part(names: tuple[str, ...]) -> Part:
        tree = scan(root, names)
        labels = torch.repeat_interleave(torch.arange(len(names)), torch.tensor(tree.counts))
        links = f"{root}: symbolic links that are not followed: {len(tree.links)} (first: {', '.join(tree.links[:1])})"
        key = key_of(str(root.resolve()), tree.fingerprint)
        note = links if tree.links else ""
        return Part(str(root), tree.files, torch.arange(len(labels)), labels, names, key, note)

    return Place(str(root), tuple(there), part)


def find_parquet(paths: str, config: DatasetConfig) -> list[Place]:
    """TRAIN,TEST; or one file, or folder of files."""
    whole = Path(paths).expanduser()
    files = [whole] if whole.exists() else [Path(path).expanduser() for path in pair(paths)]
    return [rows_of(read_parquet(file, config), str(file.resolve())) for file in files]


def find_hub(name: str, config: DatasetConfig) -> list[Place]:
    """The split `train` and the first of `JUDGING` that has labels; or the one split there is."""
    tables = read_hub(name, config)
    if "train" not in tables and len(tables) > 1:
        raise UserError(f"hf:{name}: no split 'train' among {', '.join(tables)}")
    train = tables.get("train", next(iter(tables.values())))
    judging = [tables[split] for split in JUDGING if split in tables and bool((tables[split].labels >= 0).any())]
    return [rows_of(table, table.rows.where) for table in (train, *judging[:1])]


SOURCES: dict[str, Callable[[str, DatasetConfig], list[Place]]] = {
    "folder": find_folder,
    "parquet": find_parquet,
    "hf": find_hub,
}


def rows_of(table: Table, place: str) -> Place:
    where = table.rows.where
    without = (table.labels < 0).nonzero().flatten()
    if len(without):
        raise UserError(f"{table.rows.name(int(without[0]))}: no label, or one that is no class")

    def part(names: tuple[str, ...]) -> Part:
        new = torch.tensor([names.index(name) if name in names else -1 for name in table.names])
        labels = new[table.labels]
        rows = (labels >= 0).nonzero().flatten()
        empty = (labels[rows].bincount(minlength=len(names)) == 0).nonzero().flatten().tolist()
        if empty:
            raise UserError(f"{where}: no images of class {names[empty[0]]!r}")
        return Part(where, table.rows, rows, labels[rows], names, key_of(place, table.fingerprint, names))

    return Place(where, table.names, part)


def resolved(config: DatasetConfig, parts: Sequence[Part]) -> DatasetConfig:
    """With the size and channels that the images suggest, where they are left open.

    Grey where all images are; the largest multiple of 4 up to `LARGEST_SIDE` pixels that no image is smaller than.
    """
    if config.size and config.channels:
        return config
    facts = [remembered(key_of("headers", part.key), partial(headers, part)) for part in parts]
    side = min(fact["side"] for fact in facts)
    if not config.size and side < LEAST_SIDE:
        smallest = min(facts, key=lambda fact: fact["side"])["smallest"]
        raise UserError(
            f"{smallest}: {side} pixels are too few; at least {LEAST_SIDE} x {LEAST_SIDE} are needed"
            f" (--dataset.size {LEAST_SIDE} --skip-broken leaves smaller images out)"
        )
    return replace(
        config,
        size=config.size or min(side, LARGEST_SIDE) // 4 * 4,
        channels=config.channels or (1 if all(fact["grey"] for fact in facts) else 3),
    )


def headers(part: Part) -> dict[str, object]:
    """What the first bytes of all files say; those that cannot be read are found when they are decoded."""
    grey, side, smallest = True, 2**31, ""
    with progress_bar(len(part.rows), f"{part.where}: sizes") as advance:
        for row in part.rows.tolist():
            advance()
            try:
                with part.files.open(row) as file:
                    channels, shorter = header(file)
            except (BrokenImageError, OSError):
                continue
            grey = grey and channels == 1
            if shorter < side:
                side, smallest = shorter, part.files.name(row)
    return {"grey": grey, "side": side, "smallest": smallest}


def read(part: Part, config: DatasetConfig, resize: int = 0) -> ImageSet:
    """The images of a part that can be read, at the configured size.

    resize: of the shorter side before the crop; 0: to the configured size. Errors: UserError naming the first broken
    images, unless they are to be left out, and a class without others.
    """
    assert config.channels
    images = EncodedImages(part.rows, config.channels, config.size, part.files, resize)
    prepared = prepare(images, part.key)
    if part.note:
        log.info(part.note)
    if prepared.broken:
        more = len(prepared.broken) - SHOWN
        some = "; ".join(prepared.broken[:SHOWN]) + (f"; and {more} more" if more > 0 else "")
        told = f"{part.where}: {len(prepared.broken)} of {len(part.rows)} images cannot be used: {some}"
        if not config.skip_broken:
            raise UserError(f"{told}. --skip-broken leaves them out")
        log.info(f"{told}. They are left out")
    labels = part.labels[prepared.kept]
    empty = (labels.bincount(minlength=len(part.class_names)) == 0).nonzero().flatten().tolist()
    if empty:
        raise UserError(f"{part.where}: no image of class {part.class_names[empty[0]]!r} can be used")
    return ImageSet(prepared.store, labels, part.class_names)
