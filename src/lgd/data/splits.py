"""The image set of a configuration: its parts are found, sized, read, and split where the source is not divided."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lgd.config import Config, DatasetConfig, check
from lgd.errors import UserError
from lgd.progress import log

from .cache import Found, key_of, prepare
from .class_names import canonical, pick, wanted_classes
from .decode import colour_of, resize_and_crop, to_mode
from .dimensions import resolved
from .imageset import ImageSet, Splits, stratified_split
from .messages import Tell, listed, tell, tell_ahead
from .parts import Listing, Part
from .sources import source_of
from .stores import EncodedImages


def read_images(source: str, part: Literal["train", "test"] = "train", **dataset: Any) -> ImageSet:
    """Read one part of a source of images, such as folder:PATH, as a run with that `dataset.source` does.

    dataset: other fields of `dataset`, such as size. Errors: UserError, as `load_splits`.
    """
    if part not in ("train", "test"):
        raise UserError(f"part: must be train or test, not {part!r}")
    splits = load_splits(check(Config(dataset=DatasetConfig(source, **dataset))).dataset)
    return splits.train if part == "train" else splits.test


def cached_splits(config: DatasetConfig) -> Splits:
    """Return the image set of a configuration, found and read once per process; its messages are logged then."""
    return _splits(config, Path.cwd())


def cached_test(config: DatasetConfig, resize: int) -> ImageSet:
    """Return the evaluation part of `cached_splits`, its images resized to `resize` pixels; read once per process."""
    return _test(config, resize, Path.cwd())


@lru_cache(maxsize=2)
def _splits(config: DatasetConfig, here: Path) -> Splits:
    return load_splits(config)


@lru_cache(maxsize=1)
def _test(config: DatasetConfig, resize: int, here: Path) -> ImageSet:
    """Read the test images again, the shorter side resized to `resize` before the crop. Errors: as `load_splits`."""
    parts = find(config, tell)
    validation = config.eval_split == "validation"
    images = read(parts[0 if validation else -1], resolved(config, parts, tell), tell, resize)
    if len(parts) == 1:
        images = stratified_split(images, config.test_fraction, config.split_seed)[0 if validation else 1]
    return stratified_split(images, config.validation_fraction, config.split_seed)[1] if validation else images


def load_splits(config: DatasetConfig) -> Splits:
    """Read the training part and the test part; with `eval_split = "validation"` cut the latter from the former.

    Labels count the classes in canonical order, so that no computation depends on the order of `dataset.classes`.
    Errors: UserError for an unknown source, and naming the file or class that does not fit.
    """
    parts = find(config, tell)
    config = resolved(config, parts, tell)
    sets = [read(part, config, tell) for part in parts]
    if len(sets) == 1:
        sets = list(stratified_split(sets[0], config.test_fraction, config.split_seed))
    if config.eval_split == "validation":
        sets = list(stratified_split(sets[0], config.validation_fraction, config.split_seed))
    train, test = sets
    return Splits(train, test, parts[0].class_order)


@dataclass(frozen=True)
class Survey:
    """The facts of a set before its images are used."""

    dataset: DatasetConfig
    """with size, channels and bits"""
    train: int
    """images"""
    test: int
    class_names: tuple[str, ...]
    smallest: int
    """images of the smallest class, for training"""


def survey(config: DatasetConfig) -> Survey:
    """Count the images and choose how they are read; decode them only to leave broken ones out. Errors: UserError."""
    parts = find(config, tell_ahead)
    config = resolved(config, parts, tell_ahead)
    labels = [read(part, config, tell_ahead).labels if config.skip_broken else part.labels for part in parts]
    names = parts[0].class_names
    counts = [one.bincount(minlength=len(names)) for one in labels]
    if len(parts) == 1:
        held_out = (counts[0] * config.test_fraction).round().long().clamp_min(1 if config.test_fraction else 0)
        counts = [counts[0] - held_out, held_out]
        if (smallest := int(counts[0].min())) < 1:
            name, there = names[int(counts[0].argmin())], smallest + int(held_out[counts[0].argmin()])
            raise UserError(
                f"{parts[0].where}: class {name!r} has {there} images, too few to hold out {config.test_fraction:.0%}"
            )
    train, test = (int(count.sum()) for count in counts)
    return Survey(config, train, test, names, int(counts[0].min()))


def find(config: DatasetConfig, tell: Tell) -> list[Part]:
    """Find the training part and the test part, or the whole where the source does not divide it.

    Their classes are in canonical order. Errors: UserError, also where the two have different classes.
    """
    source, argument = source_of(config.source)
    listings = source.find(argument, config)
    wanted = wanted_classes(config.classes)
    names = pick(listings[0].class_names, wanted, listings[0].where)
    for other in listings[1:]:
        check_same_classes(listings[0], other, names, bool(wanted))
    parts = [replace(listing.select(canonical(names)), class_order=names) for listing in listings]
    for notes in (*(listing.notes for listing in listings), *(part.notes for part in parts)):
        for note in notes:
            tell(note)
    return parts


def check_same_classes(train: Listing, test: Listing, names: Sequence[str], some: bool) -> None:
    """some: whether only these classes are used, so that `test` may have more. Errors: UserError."""
    missing, more = set(names) - set(test.class_names), set(test.class_names) - set(names)
    if missing or (more and not some):
        name = min(missing or more)
        has, lacks = (train, test) if missing else (test, train)
        raise UserError(f"{lacks.where}: no class {name!r}, unlike {has.where}; both need the same classes")


def read(part: Part, config: DatasetConfig, tell: Tell, resize: int = 0) -> ImageSet:
    """Read the images of a part at the configured size, without those that cannot be read.

    resize: of the shorter side before the crop; 0: to the configured size. Errors: UserError naming the first broken
    images, unless they are to be left out, and a class without others.
    """
    assert config.channels
    if isinstance(part.files, Tensor):
        return ImageSet(fitted(part.files[part.rows], config, resize), part.labels, part.class_names)
    bits, background = config.bits or 16, colour_of(config.background)
    images = EncodedImages(part.rows, config.channels, config.size, part.files, bits, background, resize)
    kept, store, found = prepare(images, key_of(part.key, bits, background))
    if reasons := [reason for _, reason in found.broken]:
        count, total = len(reasons), len(part.rows)
        told = f"{part.where}: {count} of {total} images cannot be used: {listed(reasons, count, '; ')}"
        if not config.skip_broken:
            raise UserError(f"{told}. --skip-broken leaves them out")
        tell(f"{told}. They are left out")
    labels = part.labels[kept]
    empty = (labels.bincount(minlength=len(part.class_names)) == 0).nonzero().flatten().tolist()
    if empty:
        raise UserError(f"{part.where}: no image of class {part.class_names[empty[0]]!r} can be used")
    tell_flat(part.where, found, len(kept), tell)
    return ImageSet(store, labels, part.class_names)


def tell_flat(where: str, found: Found, images: int, tell: Tell) -> None:
    """Tell how many images are of one colour; warn where most are of the same, for nothing can be learned from them."""
    if not found.flats:
        return
    names = listed(found.flat_names, found.flats)
    if 2 * found.flats > images and len(found.colours) == 1:
        log.warning(
            f"{where}: {found.flats} of {images} images come out as one colour, {'/'.join(map(str, found.colours[0]))}"
            f" of 255: {names}. --dataset.background white shows shapes that are drawn in transparency,"
            " --dataset.bits low values"
        )
    else:
        tell(f"{where}: {found.flats} of {images} images are of one colour each: {names}")


def fitted(images: Tensor, config: DatasetConfig, resize: int = 0) -> Tensor:
    """Pixels in memory, uint8 (N, C, H, W), with the configured channels and size (N, channels, size, size)."""
    channels, size = config.channels, config.size
    if images.shape[1:] == (channels, size, size) and resize in (0, size):
        return images
    if min(images.shape[2:]) < size:
        raise UserError(f"dataset.size: the images are of {images.shape[3]} x {images.shape[2]} pixels, not {size}")
    arrays = [image[0] if len(image) == 1 else image.transpose(1, 2, 0) for image in images.numpy()]
    flat = [to_mode(Image.fromarray(array), channels) for array in arrays]
    done = [np.asarray(resize_and_crop(image, size, resize or size)) for image in flat]
    return torch.from_numpy(np.stack(done)).reshape(len(done), size, size, channels).permute(0, 3, 1, 2).contiguous()
