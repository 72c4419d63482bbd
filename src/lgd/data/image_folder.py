"""Folders of image files as a source."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from lgd.config import DatasetConfig
from lgd.errors import UserError

from .class_names import wanted_classes
from .layout import divide
from .parts import Listing, Part
from .tree import class_folders, scan


def find_folders(paths: str, config: DatasetConfig) -> Sequence[Listing]:
    """List TRAIN,TEST; or the parts of a folder that holds some; or a folder of classes."""
    root = Path(paths).expanduser()
    if "," in paths and not root.exists():
        return [listing(Path(path).expanduser()) for path in train_and_test(paths)]
    parts, notes = divide(root, wanted_classes(config.classes))
    first, *others = map(listing, parts)
    return [replace(first, notes=notes), *others]


def train_and_test(paths: str) -> list[str]:
    """Split TRAIN,TEST. Errors: UserError."""
    parts = paths.split(",")
    if len(parts) > 2:
        raise UserError(f"dataset.source: {paths!r} names {len(parts)} paths; TRAIN,TEST are two")
    return parts


def listing(root: Path) -> Listing:
    """List the class folders of a part. Errors: UserError."""
    folders = class_folders(root)
    if not folders:
        raise UserError(f"{root}: no class folders in it; images are expected in {root / 'CLASS'}")

    def select(names: Sequence[str]) -> Part:
        tree = scan(root, {name: folders[name] for name in names})
        labels = torch.repeat_interleave(torch.arange(len(names)), torch.tensor(tree.counts))
        key = f"{root.resolve()} {tree.fingerprint}"
        return Part(str(root), tree.files, torch.arange(len(labels)), labels, tuple(names), key, tree.notes)

    return Listing(str(root), tuple(folders), select)
