"""The images of a finished run's dataset, in the order of its metadata.csv, and functions that the formats share."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lgd.distillation.layout import COLUMNS, image_table, read_metrics
from lgd.errors import UserError, reading
from lgd.storage.files import read_json, sha256, write_json, write_text

if TYPE_CHECKING:
    from torch import Tensor

Advance = Callable[[], object]
"""called after each image, for the progress bar"""
SHARD = 10_000  # images in one tar or Parquet file


@dataclass(frozen=True)
class Sample:
    """One image with its label."""

    path: Path
    file: str
    """relative to the dataset, <class>/NN-NNNN.png"""
    label: int
    class_name: str
    increment: int
    slot: int
    score: float | None
    sha256: str


@dataclass(frozen=True)
class Export:
    """A run's dataset, and the data of its card."""

    run: Path
    samples: Sequence[Sample]
    class_names: tuple[str, ...]
    logits: Tensor | None
    """of the teacher of soft labels, (N, classes) in the order of `samples`; None where the run stored none"""
    config: dict[str, Any]
    metrics: dict[str, Any]
    environment: dict[str, Any]
    source: dict[str, Any]
    """the record of a generator that was not trained in the run; empty for one that was"""
    real: int = 0
    """number of images that are real ones, taken from the training set"""
    statistics: str = ""
    """what to normalise images by; empty: by what the data set is"""


def read_export(run: Path) -> Export:
    """Read and check a finished run. Errors: UserError naming what is missing, damaged or does not fit."""
    table = run / "dataset" / "metadata.csv"
    if table.is_file() and not (run / "metrics.json").is_file():
        raise UserError(f"{run}: not evaluated, so it has no card yet; {table.parent} is a folder of images per class")
    if not table.is_file() or not (run / "metrics.json").is_file():
        raise UserError(f"{run}: no finished run; `lgd status {run}` tells what is missing")
    with reading(run):
        names = tuple(read_json(run / "classes.json"))
        samples = _read_table(table, names)
    for sample in samples:
        if not sample.path.is_file():
            raise UserError(f"{sample.path}: no such file; run the same `lgd distill` again to restore it")
        if sha256(sample.path) != sample.sha256:
            raise UserError(f"{sample.path}: corrupt: its SHA-256 differs from metadata.csv")
    from lgd.distillation.store import read_manifest  # which loads torch
    from lgd.evaluation.soft_labels import FILE, stored_soft_labels

    labels = table.with_name(FILE)

    def recorded(name: str) -> dict[str, Any]:
        """Read a file of the run or, where a comparison shares it, of the folder above."""
        path = next((folder / name for folder in (run, run.parent) if (folder / name).is_file()), None)
        return read_json(path) if path else {}

    return Export(
        run,
        samples,
        names,
        stored_soft_labels(labels, [sample.file for sample in samples], names).float() if labels.is_file() else None,
        read_json(run / "config.json"),
        read_metrics(run / "metrics.json"),
        recorded("environment.json"),
        recorded("generator/source.json"),
        sum(row.source is not None for done in run.glob("increments/*/done") for row in read_manifest(done.parent)),
    )


def _read_table(table: Path, names: tuple[str, ...]) -> list[Sample]:
    samples = []
    with table.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            try:
                label, path = int(row["label"]), Path(row["file_name"])
                if not 0 <= label < len(names) or path.is_absolute() or ".." in path.parts:
                    raise ValueError(row["file_name"])
                score = float(row["score"]) if row["score"] else None
                place = int(row["increment"]), int(row["slot"])
                own = table.parent / path, path.as_posix(), label, names[label]
                samples.append(Sample(*own, *place, score, row["sha256"]))
            except (KeyError, TypeError, ValueError) as error:
                raise UserError(f"{table}, line {number}: corrupt ({error})") from None
    if not samples:
        raise UserError(f"{table}: no images")
    return samples


def shards(export: Export) -> list[tuple[int, Sequence[Sample]]]:
    return [(start, export.samples[start : start + SHARD]) for start in range(0, len(export.samples), SHARD)]


def write_order(export: Export, root: Path) -> None:
    """Write order.csv, the table of the images, and classes.json, the names in the order of the labels."""
    rows = [(s.file, *(getattr(s, name) for name in COLUMNS[1:])) for s in export.samples]
    write_text(root / "order.csv", image_table(rows))
    write_json(root / "classes.json", list(export.class_names))
