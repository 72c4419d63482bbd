"""The parts of an image set as a source finds them: classes, labels and encoded images that nobody has decoded yet."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lgd.errors import UserError

from .stores import Encoded


@dataclass(frozen=True)
class Part:
    """Labelled images of the classes that are used."""

    where: str
    """for messages: a folder, a file, a split"""
    files: Encoded | Tensor
    """encoded images, or pixels in memory, uint8 (M, C, H, W)"""
    rows: Tensor
    """numbers of the images in `files`, int64 (N,)"""
    labels: Tensor
    """into `class_names`, int64 (N,)"""
    class_names: tuple[str, ...]
    key: str
    """changes with the files; decoded images are cached under it"""
    notes: tuple[str, ...] = ()
    """one-line messages about images that are left out"""
    class_order: tuple[str, ...] = ()
    """the classes as they were asked for, or as the source orders them; `class_names` is in canonical order"""


@dataclass(frozen=True)
class Listing:
    """The classes of a part. Its images are listed when it is known which classes are used."""

    where: str
    class_names: tuple[str, ...]
    select: Callable[[Sequence[str]], Part]
    """list the images of these classes. Errors: UserError naming a class without images"""
    notes: tuple[str, ...] = ()


def listing_of(
    where: str,
    files: Encoded | Tensor,
    labels: Tensor,
    class_names: Sequence[str],
    key: str = "",
    notes: tuple[str, ...] = (),
) -> Listing:
    """Make a listing of images whose labels are known.

    files: uint8 (N, C, H, W) or encoded images. labels: int64 (N,) into `class_names`. key: changes with encoded
    images; pixels need none. notes: messages about what is left out. Errors: UserError naming the first image whose
    label is no class.
    """
    without = ((labels < 0) | (labels >= len(class_names))).nonzero().flatten()
    if len(without):
        row = int(without[0])
        name = f"{where}, image {row}" if isinstance(files, Tensor) else files.name(row)
        raise UserError(f"{name}: no label, or one that is no class")

    def select(names: Sequence[str]) -> Part:
        new = torch.tensor([names.index(name) if name in names else -1 for name in class_names])
        chosen = new[labels]
        rows = (chosen >= 0).nonzero().flatten()
        empty = (chosen[rows].bincount(minlength=len(names)) == 0).nonzero().flatten().tolist()
        if empty:
            raise UserError(f"{where}: no images of class {names[empty[0]]!r}")
        return Part(where, files, rows, chosen[rows], tuple(names), f"{key} {tuple(names)}")

    return Listing(where, tuple(class_names), select, notes)
