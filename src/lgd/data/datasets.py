"""Image sets by their source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lgd.config import DatasetConfig
from lgd.errors import UserError
from lgd.progress import log

from .cache import prepare
from .class_names import pick, wanted_classes
from .decode import resize_and_crop, to_mode
from .headers import resolved
from .imageset import ImageSet, Splits, stratified_split
from .parts import Listing, Part
from .sources import source_of
from .stores import EncodedImages

SHOWN = 3
"""broken images that a message names"""


def load_splits(config: DatasetConfig) -> Splits:
    """Read the training part and the test part; with `eval_split = "validation"` cut the latter from the former.

    Errors: UserError for an unknown source, and naming the file or class that does not fit.
    """
    parts = find(config)
    config = resolved(config, parts)
    sets = [read(part, config) for part in parts]
    if len(sets) == 1:
        sets = list(stratified_split(sets[0], config.test_fraction, config.split_seed))
    splits = Splits(*sets)
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


def find(config: DatasetConfig) -> list[Part]:
    """Find the training part and the test part, or the whole where the source does not divide it.

    Errors: UserError, also where the two have different classes.
    """
    source, argument = source_of(config.source)
    listings = source.find(argument, config)
    wanted = wanted_classes(config.classes)
    names = pick(listings[0].class_names, wanted, listings[0].where)
    for other in listings[1:]:
        check_same_classes(listings[0], other, names, bool(wanted))
    parts = [listing.select(names) for listing in listings]
    for notes in (*(listing.notes for listing in listings), *(part.notes for part in parts)):
        for note in notes:
            log.info(note)
    return parts


def check_same_classes(train: Listing, test: Listing, names: Sequence[str], some: bool) -> None:
    """some: whether only these classes are used, so that `test` may have more. Errors: UserError."""
    missing, more = set(names) - set(test.class_names), set(test.class_names) - set(names)
    if missing or (more and not some):
        name = min(missing or more)
        has, lacks = (train, test) if missing else (test, train)
        raise UserError(f"{lacks.where}: no class {name!r}, unlike {has.where}; both need the same classes")


def read(part: Part, config: DatasetConfig) -> ImageSet:
    """Read the images of a part at the configured size, without those that cannot be read.

    Errors: UserError naming the first broken images, unless they are to be left out, and a class without others.
    """
    assert config.channels
    if isinstance(part.files, Tensor):
        return ImageSet(fitted(part.files[part.rows], config), part.labels, part.class_names)
    prepared = prepare(EncodedImages(part.rows, config.channels, config.size, part.files), part.key)
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


def fitted(images: Tensor, config: DatasetConfig) -> Tensor:
    """Pixels in memory, uint8 (N, C, H, W), with the configured channels and size (N, channels, size, size)."""
    channels, size = config.channels, config.size
    if images.shape[1:] == (channels, size, size):
        return images
    if min(images.shape[2:]) < size:
        raise UserError(f"dataset.size: the images are of {images.shape[3]} x {images.shape[2]} pixels, not {size}")
    arrays = [image[0] if len(image) == 1 else image.transpose(1, 2, 0) for image in images.numpy()]
    done = [np.asarray(resize_and_crop(to_mode(Image.fromarray(array), channels), size)) for array in arrays]
    return torch.from_numpy(np.stack(done)).reshape(len(done), size, size, channels).permute(0, 3, 1, 2).contiguous()
