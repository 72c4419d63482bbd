"""The sets to analyse: runs of lgd, or image folders split into increments by a seed.

Reading is tolerant: it leaves out missing and damaged files and says so in `notes`, so that the rest can be analysed.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256 as new_digest
from pathlib import Path

import torch
from torch import Tensor

from lgd.config import Config, from_dict
from lgd.data.folder import decode_image, describe, folders_of
from lgd.data.imageset import ImageSet, concatenate
from lgd.distillation.layout import runs_below
from lgd.distillation.store import read_manifest
from lgd.errors import UserError
from lgd.rng import generator
from lgd.storage.files import read_json, sha256


@dataclass(frozen=True)
class SetSource:
    """The place of a set and how to read it. It is small, so that it travels to worker processes."""

    name: str
    group: str
    """tables and figures average the sets of one group: a run's method, a folder's own name"""
    path: Path
    class_names: tuple[str, ...]
    shape: tuple[int, int, int]
    """(C, H, W) of the real images"""
    split_into: int
    """increments to split a plain folder into; 0 for a run, which has its own"""
    split_seed: int = 0


@dataclass(frozen=True, eq=False)
class AnalysedSet:
    """A set in memory. Two are equal only if they are the same object, so that results can be cached by it."""

    increments: tuple[ImageSet, ...]
    """those that have images, in order"""
    notes: tuple[str, ...] = ()
    """which files were left out, and what cannot be measured"""

    @cached_property
    def images(self) -> ImageSet:
        return self.increments[0] if len(self.increments) == 1 else concatenate(self.increments)


def is_run(path: Path) -> bool:
    return (path / "config.json").is_file() and (path / "classes.json").is_file()


def run_config(path: Path) -> Config:
    """Read the configuration that a run was made with. Errors: UserError naming the first wrong field."""
    return from_dict(read_json(path / "config.json"), str(path / "config.json"))


def expand(paths: Sequence[Path]) -> list[Path]:
    """Replace every directory of compare or ablate by its runs. Errors: UserError for a path missing or given twice."""
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            raise UserError(f"{path}: no such directory")
        runs = [run for run in runs_below(path) if is_run(run)]
        found += runs if runs and not is_run(path) else [path]
    twice = [path for path in found if found.count(path) > 1]
    if twice:
        raise UserError(f"{twice[0]} is given twice")
    return found


@lru_cache(maxsize=8)
def load_set(source: SetSource) -> AnalysedSet:
    """Read the images. Errors: UserError when none can be read, or one has not the shape of the real images."""
    problems: dict[str, list[Path]] = defaultdict(list)
    notes: list[str] = []
    increments = (_read_folder if source.split_into else _read_run)(source, problems, notes)
    for problem, paths in problems.items():
        if paths:
            notes.append(f"{len(paths)} image{'s' * (len(paths) > 1)} {problem}; left out (first: {paths[0]})")
    if not increments:
        raise UserError(f"{source.path}: no images that can be read")
    if len(increments) == 1:
        notes.append("one increment only: no redundancy, no loss jump and no difficulty can be measured")
    held = torch.cat([part.labels for part in increments]).unique()
    if len(held) < len(source.class_names):
        absent = [name for label, name in enumerate(source.class_names) if label not in held]
        some = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
        notes.append(f"{len(held)} of {len(source.class_names)} classes; none of: {some}")
    return AnalysedSet(tuple(increments), tuple(notes))


def content_digest(analysed: AnalysedSet) -> str:
    """Return the SHA-256 of images, labels and their division into increments."""
    digest = new_digest()
    for part in analysed.increments:
        digest.update(str(tuple(part.images.shape)).encode())
        digest.update(part.images.numpy().tobytes())
        digest.update(part.labels.numpy().tobytes())
    return digest.hexdigest()


def _read_run(source: SetSource, problems: dict[str, list[Path]], notes: list[str]) -> list[ImageSet]:
    increments = []
    for folder in sorted(path.parent for path in source.path.glob("increments/*/done")):
        images, labels, rows = [], [], read_manifest(folder)
        known = {name: label for label, name in enumerate(source.class_names)}
        listed = {folder / row.file for row in rows}
        problems["not in a manifest"] += [path for path in folder.glob("*/*.png") if path not in listed]
        for row in rows:
            path = folder / row.file
            if not path.is_file():
                problems["listed in a manifest but missing"].append(path)
            elif sha256(path) != row.sha256 or row.class_name not in known:
                problems["not what the manifest says (class or SHA-256)"].append(path)
            else:
                images.append(_decode(path, source.shape))
                labels.append(known[row.class_name])
        if images:
            increments.append(ImageSet(torch.stack(images), torch.tensor(labels), source.class_names))
        else:
            notes.append(f"increment {folder.name} has no image left")
    return increments


def _read_folder(source: SetSource, problems: dict[str, list[Path]], notes: list[str]) -> list[ImageSet]:
    labels_of = {folder: label for label, folder in enumerate(folders_of(source.path, source.class_names))}
    unknown = sorted(path for path in source.path.iterdir() if path.is_dir() and path.name not in labels_of)
    if unknown:
        raise UserError(f"{unknown[0]}: not one of the classes: {', '.join(source.class_names)}")
    images, labels = [], []
    for name, label in labels_of.items():
        for path in sorted((source.path / name).glob("*.png")):
            try:
                images.append(_decode(path, source.shape))
                labels.append(label)
            except UserError as error:
                if "corrupt" not in str(error):
                    raise
                problems["corrupt"].append(path)
    if not images:
        return []
    whole = ImageSet(torch.stack(images), torch.tensor(labels), source.class_names)
    smallest = int(whole.labels.bincount()[whole.labels.unique()].min())
    K = min(source.split_into, smallest)
    if source.split_into > K:
        notes.append(f"split into {K} increments, not {source.split_into}: the smallest class has {smallest} images")
    return split_into_increments(whole, K, source.split_seed)


def split_into_increments(whole: ImageSet, count: int, seed: int) -> list[ImageSet]:
    """Deal every class's images, in random order, to `count` increments in turn; the same for the same seed."""
    places: list[list[Tensor]] = [[] for _ in range(count)]
    for label, name in enumerate(whole.class_names):
        members = whole.indices_of(label)
        order = members[torch.randperm(len(members), generator=generator(seed, "increments", name))]
        for k in range(count):
            places[k].append(order[k::count])
    return [whole.subset(torch.cat(one).sort().values) for one in places]


def _decode(path: Path, shape: tuple[int, int, int]) -> Tensor:
    image = decode_image(path)
    if tuple(image.shape) != shape:
        raise UserError(f"{path}: {describe(image.shape)}, but the real images are {describe(shape)}")
    return image
