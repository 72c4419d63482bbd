"""Folders of image files as a source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from lgd.config import DatasetConfig
from lgd.errors import UserError

from .parts import Listing, Part
from .tree import JUDGING, class_folders, scan


def find_folders(paths: str, config: DatasetConfig) -> Sequence[Listing]:
    """TRAIN,TEST; or a folder with `train` and one of `JUDGING`; or one with the classes."""
    root = Path(paths).expanduser()
    if "," in paths and not root.exists():
        return [folder(Path(path).expanduser()) for path in train_and_test(paths)]
    if not (root / "train").is_dir():
        return [folder(root)]
    judging = [path for path in (root / name for name in JUDGING) if path.is_dir() and class_folders(path)]
    found = [root / "train", *judging[:1]]
    for path in found:
        if path.is_symlink():
            raise UserError(f"{path} is a symbolic link; give where it leads: --dataset.source folder:TRAIN,TEST")
    return [folder(path) for path in found]


def train_and_test(paths: str) -> list[str]:
    """Split TRAIN,TEST. Errors: UserError."""
    parts = paths.split(",")
    if len(parts) > 2:
        raise UserError(f"dataset.source: {paths!r} names {len(parts)} paths; TRAIN,TEST are two")
    return parts


def folder(root: Path) -> Listing:
    """List the class folders of a part. Errors: UserError."""
    there = class_folders(root)
    if not there:
        raise UserError(f"{root}: no class folders in it; images are expected in {root / 'CLASS'}")

    def select(names: Sequence[str]) -> Part:
        tree = scan(root, names)
        labels = torch.repeat_interleave(torch.arange(len(names)), torch.tensor(tree.counts))
        links = f"{root}: symbolic links that are not followed: {len(tree.links)} (first: {', '.join(tree.links[:1])})"
        key = f"{root.resolve()} {tree.fingerprint}"
        notes = (links,) if tree.links else ()
        return Part(str(root), tree.files, torch.arange(len(labels)), labels, tuple(names), key, notes)

    return Listing(str(root), tuple(there), select)
