"""Read distilled sets as they are released: folders by name, WordNet id or number, and tensors in torch's files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lgd.classifiers.architectures import channel_statistics
from lgd.data.class_names import places
from lgd.data.folder import describe, folders_of, read_folder
from lgd.data.imageset import ImageSet, Splits, to_bytes
from lgd.data.tree import class_folders
from lgd.diffusion.class_map import imagenet_labels, plain
from lgd.diffusion.weight_files import unpickled
from lgd.errors import UserError
from lgd.progress import log

IMAGES = ("images", "image", "data", "x", "imgs")
LABELS = ("hard_labels", "labels", "label", "targets", "y")
"""names of tensors and their files, the first that is there"""
STATISTICS = {
    "CIFAR's": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "CIFAR-10's": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "CIFAR-100's": ((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),
    "ImageNet's": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "MNIST's": ((0.1307,), (0.3081,)),
    "[-1, 1]": ((0.5,), (0.5,)),
}
"""means and deviations per channel that images are often normalised by"""
OUTSIDE = 0.2
"""largest share of values beyond [0, 1] that statistics may leave; optimised images leave some"""


def read_released(place: Path, real: Splits) -> ImageSet:
    """Return a released set over the classes of the real images, whatever it calls them.

    Numbers stand for classes in the order of `dataset.classes` or of the source, or are ImageNet's. Errors: UserError.
    """
    if files := tensor_files(place):
        return read_tensors(files, real)
    return read_folder(place, real.train.class_names, real.train.shape, folders_for(place, real))


def folders_for(root: Path, real: Splits) -> list[str]:
    """Return the folder of each class: by name, WordNet id, words or number; others are left to `read_folder`."""
    names = real.train.class_names
    there, own = class_folders(root) if root.is_dir() else {}, folders_of(root, names)
    if set(there.values()) <= set(own):
        return own
    words = {wnid: [plain(word) for word in text.split(",")] for wnid, text in imagenet_labels().items()}
    numbers = {int(folder): folder for folder in there if folder.isdecimal()}
    if len(numbers) == len(there):
        ids = [list(words).index(name) if name in words else -1 for name in names]
        by_place = [real.class_order.index(name) for name in names]
        chosen = by_place if sorted(numbers) == list(range(len(names))) else ids
        found = [numbers.get(number) for number in chosen]
        how = "numbers, read in the order of the classes" if chosen is by_place else "ImageNet's numbers"
    else:
        by_word = {word: wnid for wnid, several in words.items() for word in several}
        known = {by_word.get(plain(folder), folder): folder for folder in there}
        found = [known.get(name) or known.get(by_word.get(plain(name), "")) for name in names]
        how = "WordNet ids" if any(folder in words for folder in there) else "words of ImageNet's classes"
    if None in found:
        return own
    log.info(f"{root}: its folders are {how}: {found[0]} is {names[0]!r}, {found[-1]} is {names[-1]!r}")
    return [folder for folder in found if folder is not None]


def tensor_files(place: Path) -> list[Path]:
    """Return the file of images with labels, or the file of images and that of labels; empty: there are none."""
    if place.is_file():
        return [place]
    pair = [
        next((place / f"{name}.pt" for name in names if (place / f"{name}.pt").is_file()), None)
        for names in (IMAGES, LABELS)
    ]
    return [path for path in pair if path] if pair[0] else []


def read_tensors(files: Sequence[Path], real: Splits) -> ImageSet:
    """Return images and labels of torch's files, as 8-bit images. Errors: UserError for those that do not fit."""
    images, labels = tensors_in(files)
    shape, where = real.train.shape, files[0]
    if images.shape[-1] == shape[0] != images.shape[1]:
        images = images.permute(0, 3, 1, 2)
    if tuple(images.shape[1:]) != shape:
        raise UserError(f"{where}: {describe(images.shape[1:])}, but the test images are {describe(shape)}")
    order, classes = real.class_order, len(real.class_order)
    hard = hard_labels(files[-1], labels, classes, "the test images have")
    log.info(f"{files[-1]}: label 0 is read as {order[0]!r}, label {classes - 1} as {order[-1]!r}")
    names = real.train.class_names
    return ImageSet(in_bytes(where, images, real.train), places(order, names, where)[hard], names)


def tensors_in(files: Sequence[Path]) -> tuple[Tensor, Tensor]:
    """Return images (N, C, H, W) or (N, H, W, C), and labels, of one file or two. Errors: UserError for others."""
    values = [unpickled(path) for path in files]
    images, labels = pair_in(files[0], values[0]) if len(values) == 1 else tuple(values)
    if not (isinstance(images, Tensor) and isinstance(labels, Tensor) and images.ndim == 4):
        raise UserError(f"{files[0]}: no pair of tensors, images (N, C, H, W) and labels (N,)")
    if len(labels) != len(images):
        raise UserError(f"{files[-1]}: {len(labels)} labels for {len(images)} images")
    return images, labels


def hard_labels(path: Path, labels: Tensor, classes: int, whose: str) -> Tensor:
    """Return labels (N,) of labels, or of logits over the classes. Errors: UserError for those of other classes."""
    if labels.ndim == 2 and labels.shape[1] not in (1, classes):
        raise UserError(f"{path}: labels over {labels.shape[1]} classes; {whose} {classes}")
    hard = labels.argmax(1) if labels.ndim == 2 and labels.shape[1] > 1 else labels.flatten().long()
    if not 0 <= int(hard.min()) <= int(hard.max()) < classes:
        raise UserError(
            f"{path}: labels from {int(hard.min())} to {int(hard.max())}; the classes are 0 to {classes - 1}"
        )
    return hard


def pair_in(path: Path, value: Any) -> tuple[Any, Any]:
    """Return the images and the labels in a file. Errors: UserError where it does not hold both."""
    if isinstance(value, Mapping):
        found = [next((value[name] for name in names if name in value), None) for names in (IMAGES, LABELS)]
        value = found if found[1] is not None else found[0]
    if isinstance(value, list) and value and isinstance(value[-1], list | tuple):
        value = value[-1]  # of several sets in one file, the last
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise UserError(f"{path}: no pair of images and labels")
    return value[0], value[1]


def in_bytes(path: Path, images: Tensor, real: ImageSet) -> Tensor:
    """Return images as uint8 (N, C, H, W); undo a normalisation by statistics that nobody tells.

    Values beyond [0, 1] are taken as normalised. Of the known statistics and the real images' own, those are undone
    that bring the values best into [0, 1], onto multiples of 1/255, and to the real images' means and deviations. Where
    all leave a fifth outside, the channels get the mean and the deviation of the real images. Errors: UserError for
    values that are not finite.
    """
    if (plain := unnormalised(path, images)) is not None:
        return plain
    images = images.float()
    mean, std = channel_statistics(real)
    known = {"the real images'": (mean, std)}
    for name, one in STATISTICS.items():
        if len(one[0]) in (1, len(mean)):
            known[name] = (torch.tensor(one[0]).expand(len(mean)), torch.tensor(one[1]).expand(len(mean)))
    distances = {}
    for name, (m, s) in known.items():
        x = images * s.view(-1, 1, 1) + m.view(-1, 1, 1)
        outside = ((x < -1 / 255) | (x > 1 + 1 / 255)).double().mean().item()
        if outside < OUTSIDE:
            off = (x.mean((0, 2, 3)) - mean).abs() + (x.std((0, 2, 3)) - std).abs()
            grid = (x * 255 - (x * 255).round()).abs().mean().item()  # 0 for statistics of 8-bit images, else 0.25
            distances[name] = off.sum().item() + grid + outside
    if distances:
        chosen = min(distances, key=distances.__getitem__)
        m, s = known[chosen]
        told = f"{chosen} statistics"
    else:
        own_mean, own_std = images.mean((0, 2, 3)), images.std((0, 2, 3))
        s = std / own_std
        m = mean - own_mean * s
        told = "unknown statistics: its channels get the mean and the deviation of the real images"
    log.info(f"{path}: values from {images.min():.2f} to {images.max():.2f}: normalised by {told}, which are undone")
    return to_bytes(images * s.view(-1, 1, 1) + m.view(-1, 1, 1))


def unnormalised(path: Path, images: Tensor) -> Tensor | None:
    """Return images in 0 to 255 or in [0, 1] as uint8; None for normalised ones.

    Errors: UserError for values that are not finite.
    """
    if images.dtype == torch.uint8:
        return images
    images = images.float()
    if not images.isfinite().all():
        raise UserError(f"{path}: values that are not finite")
    if images.max() > 16 and images.min() >= 0:
        return to_bytes(images / 255)
    return to_bytes(images) if images.min() >= 0 and images.max() <= 1 else None
