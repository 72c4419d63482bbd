"""Write and read the images of a run: PNG files, one manifest row per image, and `done`, written last.

RUN/increments/02/<class>/02-0001.png   manifest.jsonl   groups/   learners/   done
RUN/dataset/<class>/02-0001.png         metadata.csv
"""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from lgd.config import Whole
from lgd.data.class_names import canonical
from lgd.data.folder import decode_image
from lgd.data.imageset import ImageSet, LabelledImages, concatenate
from lgd.errors import UserError
from lgd.storage.files import (
    copy_file,
    load_tensors,
    read_json,
    read_json_lines,
    safe_name,
    save_tensors,
    sha256,
    write_bytes,
    write_json,
    write_text,
)
from lgd.storage.object_store import fetched

from .layout import Run, image_table, runs_below
from .rejected import write_rejected


@dataclass(frozen=True)
class Candidate:
    """One of the images sampled for a slot."""

    seed: int | None
    """seed of its noise; None for a real image"""
    score: float | None = None
    """learnability score of the 8-bit image; None without a learner"""
    learner_loss: float | None = None
    """cross-entropy of the learner, the mean over learners"""
    reference_loss: float | None = None
    """cross-entropy of the reference"""
    valid: bool | None = None
    """whether the reference classifies it correctly"""
    real: int | None = None
    """position in the training set of the real image that competed, or of the anchor of one that was sampled"""


@dataclass(frozen=True)
class Row:
    """One image of the manifest."""

    file: str
    """path relative to the increment's folder"""
    class_name: str
    label: int
    """index of the class in classes.json"""
    increment: Whole
    """number of the increment, from 1"""
    slot: Whole
    """place of the image in its class and increment, from 0"""
    chosen: int
    """index of the kept image in `candidates`"""
    candidates: tuple[Candidate, ...]
    sha256: str
    """digest of the file"""
    source: int | None = None
    """position in the training set, for a real image"""


@dataclass(frozen=True)
class SelectedImage:
    """One kept image, before it is written."""

    label: int
    """index of the class in canonical order"""
    slot: int
    """place of the image in its class and increment, from 0"""
    image: Tensor
    """uint8 (C, H, W)"""
    latent: Tensor | None
    """float (C, H, W); None without a generator"""
    candidates: tuple[Candidate, ...]
    chosen: int = 0
    """index of this image in `candidates`"""
    source: int | None = None
    """position in the training set, for a real image"""
    rejected: tuple[Tensor, ...] = ()
    """the other candidates, each as `image`, in their order; empty unless they are to be stored"""


def picture(image: Tensor) -> Image.Image:
    """Convert an image, uint8 (C, H, W) with one or three channels."""
    array = image.permute(1, 2, 0).numpy()
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def encode_png(image: Tensor) -> bytes:
    """Encode an image, uint8 (C, H, W) with one or three channels, as PNG."""
    buffer = io.BytesIO()
    picture(image).save(buffer, "PNG")
    return buffer.getvalue()


def image_file(class_name: str, increment: int, slot: int) -> str:
    """Return the path of an image, relative to its increment's folder and to the dataset's."""
    return f"{safe_name(class_name)}/{increment:02d}-{slot:04d}.png"


def write_group(path: Path, selected: Sequence[SelectedImage], class_order: Sequence[str], increment: int) -> None:
    """Write the images of one unit and their latents and, last, their manifest rows to `path`.

    selected: with labels that count the classes in canonical order. class_order: of the labels in the rows.
    """
    folder, names = path.parent.parent, canonical(class_order)
    rows = []
    for item in selected:
        name, slot = names[item.label], item.slot
        file = image_file(name, increment, slot)
        write_bytes(folder / file, encode_png(item.image))
        write_rejected(folder, file, item.rejected)
        label, digest = class_order.index(name), sha256(folder / file)
        rows.append(Row(file, name, label, increment, slot, item.chosen, item.candidates, digest, item.source))
    latents = [item.latent for item in selected if item.latent is not None]
    if latents:
        save_tensors(path.with_suffix(".safetensors"), {"latents": torch.stack(latents)})
    write_json(path, [row_values(row) for row in rows])


def row_values(row: Row) -> dict[str, Any]:
    """Return a row as plain data; candidates without a real image have no entry for it."""

    def present(items: list[tuple[str, Any]]) -> dict[str, Any]:
        return {name: value for name, value in items if name != "real" or value is not None}

    return asdict(row, dict_factory=present)


def finish_increment(folder: Path) -> None:
    """Join the rows of the groups into the manifest, ordered by class and slot, and mark the increment done."""
    rows = [row for path in sorted((folder / "groups").glob("*.json")) for row in read_rows(path, read_json(path))]
    rows.sort(key=lambda row: (row.class_name, row.slot))
    keep_or_write(folder / "manifest.jsonl", "".join(json.dumps(row_values(row)) + "\n" for row in rows))
    if not (folder / "done").exists():
        write_text(folder / "done", "")


@cache
def validator() -> TypeAdapter[list[Row]]:
    return TypeAdapter(list[Row])


def read_rows(path: Path, values: Any) -> list[Row]:
    """Check plain data against `Row`. Errors: UserError naming the file and the first wrong field."""
    try:
        rows = validator().validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{path}: corrupt manifest: row {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    for row in rows:
        if row.file != image_file(row.class_name, row.increment, row.slot):  # a manifest may be hostile
            raise UserError(f"{path}: corrupt manifest: image {row.file!r:.100}")
        if not 0 <= row.chosen < len(row.candidates):
            raise UserError(f"{path}: corrupt manifest: candidate {row.chosen} of {len(row.candidates)}")
    return rows


def read_manifest(folder: Path) -> list[Row]:
    """Read the manifest rows of one finished increment. Errors: as `read_rows`."""
    path = folder / "manifest.jsonl"
    return read_rows(path, read_json_lines(path))


def read_increment(folder: Path, class_names: Sequence[str], labels: range | None = None) -> ImageSet:
    """Read the images of one finished increment, in manifest order, with labels that count `class_names`.

    labels: of the classes to read; None: all. Errors: UserError naming the first file that is missing, corrupt, or not
    what was written.
    """
    rows, known = read_manifest(folder), {name: label for label, name in enumerate(class_names)}
    rows = [row for row in rows if labels is None or known.get(row.class_name) in labels]
    images = []
    for row in rows:
        if (folder / row.file).is_file() and sha256(folder / row.file) != row.sha256:
            raise UserError(
                f"{folder / row.file}: corrupt: its SHA-256 differs from the manifest's; delete {folder} (and later"
                " increments) and run the same command to make it again"
            )
        if row.class_name not in known:
            raise UserError(f"{folder / 'manifest.jsonl'}: {row.file} is of class {row.class_name!r}, not asked for")
        images.append(decode_image(folder / row.file))
    found = torch.tensor([known[row.class_name] for row in rows])
    return ImageSet(torch.stack(images), found, tuple(class_names))


def read_union(folders: Sequence[Path], class_names: Sequence[str], labels: range | None = None) -> ImageSet:
    """Read the images of several finished increments as one set, as `read_increment` does. Errors: as there."""
    return concatenate([read_increment(folder, class_names, labels) for folder in folders])


def read_latents(folder: Path) -> dict[str, Tensor]:
    """Read the latents of a finished increment by class name, each (n, C, H, W), in order of slots."""
    found: dict[str, list[Tensor]] = {}
    for path in sorted((folder / "groups").glob("*.json")):
        latents = load_tensors(path.with_suffix(".safetensors"))["latents"]
        for row, latent in zip(read_rows(path, read_json(path)), latents, strict=True):
            found.setdefault(row.class_name, []).append(latent)
    return {name: torch.stack(items) for name, items in found.items()}


def write_dataset(run: Run, increments: int) -> list[Path]:
    """Write the union of the increments as an image folder with metadata.csv, which `datasets` loads.

    Copies that are already right are left alone. Returns the copies that were corrupt and are now right.
    """
    corrupt, table = [], []
    for index in range(1, increments + 1):
        folder = run.increment(index)
        for row in read_manifest(folder):
            target = run.dataset / row.file
            if not target.is_file() or sha256(target) != row.sha256:
                corrupt += [target] if target.exists() else []
                copy_file(folder / row.file, target)
            score = row.candidates[row.chosen].score
            table.append([row.file, row.label, row.class_name, index, row.slot, score, row.sha256])
    keep_or_write(run.dataset / "metadata.csv", image_table(table))
    return corrupt


def keep_or_write(path: Path, text: str) -> None:
    if not path.is_file() or path.read_bytes() != text.encode():
        write_text(path, text)


class DistilledSet(LabelledImages):
    """A distilled set as a torch dataset, with its manifest and metrics."""

    def __init__(
        self,
        images: ImageSet,
        rows: Sequence[Row],
        metrics: Mapping[str, Any] | None,
        transform: Callable[[Tensor], Any] | None = None,
    ) -> None:
        super().__init__(images, transform)
        self.rows = list(rows)
        """manifest rows, in the order of the images"""
        self.metrics = metrics
        """content of metrics.json; None for an unfinished run"""

    def __repr__(self) -> str:
        if not self.metrics:
            return f"{super().__repr__()}; not evaluated"
        last = self.metrics["increments"][-1]
        found = f"{self.metrics['method']}, {last['ipc']} images per class, {last['accuracy']['mean']:.1f} % accuracy"
        return f"{super().__repr__()}; {found}"


def load(run: str | Path, transform: Callable[[Tensor], Any] | None = None) -> DistilledSet:
    """Read a run's finished increments as a torch dataset; checks every file against its SHA-256.

    run: directory or URL. transform: applied to each image. Errors: UserError when it is no run, has no finished
    increment, or a file is corrupt.
    """
    with fetched(run) as root:
        if runs := runs_below(root):
            raise UserError(
                f"{run}: holds {len(runs)} runs; load one of them, such as {runs[0].relative_to(root)} in it"
            )
        names = tuple(read_json(root / "classes.json"))
        folders = sorted(path.parent for path in root.glob("increments/*/done"))
        if not folders:
            raise UserError(f"{run}: no finished increment")
        rows = [row for folder in folders for row in read_manifest(folder)]
        images = read_union(folders, names)
        metrics = root / "metrics.json"
        return DistilledSet(images, rows, read_json(metrics) if metrics.exists() else None, transform)
