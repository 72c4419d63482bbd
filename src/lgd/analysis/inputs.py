"""The sets under study: runs of ours, or anyone's image folder split into increments by a seed.

Reading is tolerant, unlike a run's own: what is missing or damaged is left out and told in `notes`, so that the rest
can be analysed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256 as new_digest
from pathlib import Path

import torch
from torch import Tensor

from lgd.config import Config, from_dict
from lgd.data.folder import decode_image, describe
from lgd.data.imageset import ImageSet
from lgd.distillation.store import Row, read_manifest
from lgd.errors import UserError
from lgd.rng import generator
from lgd.storage.files import read_json, safe_name, sha256


@dataclass(frozen=True)
class Source:
    """Where a set lies and how it is read: small, so that it travels to worker processes."""

    name: str
    group: str
    """sets of one group are averaged in figures and tables: a run's method, a folder's own name"""
    path: Path
    class_names: tuple[str, ...]
    shape: tuple[int, int, int]
    """(C, H, W) of the real images"""
    increments: int
    """parts to split a plain folder into; 0 for a run, which knows its own"""
    split_seed: int = 0


@dataclass(frozen=True)
class StudiedSet:
    """A set in memory."""

    parts: tuple[ImageSet, ...]
    """the increments that have images, in order"""
    rows: tuple[tuple[Row, ...], ...]
    """manifest rows of the parts' images; empty for a plain folder"""
    notes: tuple[str, ...]
    """what was wrong with the files, and what therefore cannot be said"""


def is_run(path: Path) -> bool:
    return (path / "config.json").is_file() and (path / "classes.json").is_file()


def run_config(path: Path) -> Config:
    """The configuration a run was made with. Errors: UserError naming the first wrong field."""
    return from_dict(read_json(path / "config.json"), str(path / "config.json"))


def expand(paths: Sequence[Path]) -> list[Path]:
    """The paths, with every compare directory replaced by its runs. Errors: UserError for what is not there."""
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            raise UserError(f"{path}: no such directory")
        runs = sorted(p.parent for p in path.glob("*/classes.json") if is_run(p.parent))
        found += runs if runs and not is_run(path) else [path]
    twice = [path for path in found if found.count(path) > 1]
    if twice:
        raise UserError(f"{twice[0]} is given twice")
    return found


@lru_cache(maxsize=8)
def load_set(source: Source) -> StudiedSet:
    """Read the images. Errors: UserError when nothing can be read, or an image has not the real images' shape."""
    parts, rows, notes = _read_folder(source) if source.increments else _read_run(source)
    if not parts:
        raise UserError(f"{source.path}: no images that can be read")
    if len(parts) == 1:
        notes.append("one increment only: no redundancy, no loss jump and no difficulty can be measured")
    held = torch.cat([part.labels for part in parts]).unique()
    if len(held) < len(source.class_names):
        absent = [name for label, name in enumerate(source.class_names) if label not in held]
        some = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
        notes.append(f"{len(held)} of {len(source.class_names)} classes; none of: {some}")
    return StudiedSet(tuple(parts), tuple(rows), tuple(notes))


def content_digest(studied: StudiedSet) -> str:
    """SHA-256 over images, labels and their division, so that finished work is never taken for another set's."""
    digest = new_digest()
    for part in studied.parts:
        digest.update(str(tuple(part.images.shape)).encode())
        digest.update(part.images.numpy().tobytes())
        digest.update(part.labels.numpy().tobytes())
    return digest.hexdigest()


def _read_run(source: Source) -> tuple[list[ImageSet], list[tuple[Row, ...]], list[str]]:
    missing, damaged, unlisted = [], [], []
    parts, kept_rows, notes = [], [], []
    for folder in sorted(path.parent for path in source.path.glob("increments/*/done")):
        listed = read_manifest(folder)
        names = {row.file for row in listed}
        unlisted += [path for path in folder.glob("*/*.png") if path.relative_to(folder).as_posix() not in names]
        images, rows = [], []
        for row in listed:
            if not (folder / row.file).is_file():
                missing.append(folder / row.file)
            elif sha256(folder / row.file) != row.sha256 or not 0 <= row.label < len(source.class_names):
                damaged.append(folder / row.file)
            else:
                images.append(_decode(folder / row.file, source.shape))
                rows.append(row)
        if rows:
            parts.append(_image_set(images, [row.label for row in rows], source.class_names))
            kept_rows.append(tuple(rows))
        else:
            notes.append(f"increment {folder.name} has no image left")
    notes += _told(missing, "listed in a manifest but missing; left out")
    notes += _told(damaged, "not what the manifest says (label or SHA-256); left out")
    notes += _told(unlisted, "not in a manifest; left out")
    return parts, kept_rows, notes


def _read_folder(source: Source) -> tuple[list[ImageSet], list[tuple[Row, ...]], list[str]]:
    labels_of = {safe_name(name): label for label, name in enumerate(source.class_names)}
    unknown = sorted(path for path in source.path.iterdir() if path.is_dir() and path.name not in labels_of)
    if unknown:
        raise UserError(f"{unknown[0]}: not one of the classes: {', '.join(source.class_names)}")
    images, labels, damaged = [], [], []
    for name, label in labels_of.items():
        for path in sorted((source.path / name).glob("*.png")):
            try:
                images.append(_decode(path, source.shape))
                labels.append(label)
            except UserError as error:
                if "corrupt" not in str(error):
                    raise
                damaged.append(path)
    notes = _told(damaged, "corrupt; left out")
    if not images:
        return [], [], notes
    whole = _image_set(images, labels, source.class_names)
    smallest = int(whole.labels.bincount()[whole.labels.unique()].min())
    K = min(source.increments, smallest)
    if source.increments > K:
        notes.append(f"split into {K} increments, not {source.increments}: the smallest class has {smallest} images")
    return split_into_increments(whole, K, source.split_seed), [], notes


def split_into_increments(whole: ImageSet, count: int, seed: int) -> list[ImageSet]:
    """Deal every class's images, in random order, to `count` parts in turn; the same for the same seed."""
    parts: list[list[Tensor]] = [[] for _ in range(count)]
    for label, name in enumerate(whole.class_names):
        members = whole.indices_of(label)
        order = members[torch.randperm(len(members), generator=generator(seed, "increments", name))]
        for k in range(count):
            parts[k].append(order[k::count])
    return [whole.subset(torch.cat(part).sort().values) for part in parts]


def _decode(path: Path, shape: tuple[int, int, int]) -> Tensor:
    image = decode_image(path)
    if tuple(image.shape) != shape:
        raise UserError(f"{path}: {describe(image.shape)}, but the real images are {describe(shape)}")
    return image


def _image_set(images: Sequence[Tensor], labels: Sequence[int], names: tuple[str, ...]) -> ImageSet:
    return ImageSet(torch.stack(list(images)), torch.tensor(labels), names)


def _told(paths: Sequence[Path], what: str) -> list[str]:
    return [f"{len(paths)} image{'s' * (len(paths) > 1)} {what} (first: {paths[0]})"] if paths else []
