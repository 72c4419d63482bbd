"""Paths of a run directory, and the groups of classes that an increment is made in. Loads no torch."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lgd.errors import UserError, reading
from lgd.storage.files import read_json, safe_name, write_json

CALIBRATED_STRENGTHS = 6
"""number of strengths that a calibration compares, 0 included"""


@dataclass(frozen=True)
class Run:
    """Paths of a run directory."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "config.json"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.json"

    @property
    def parts(self) -> Path:
        """Return the file that tells `lgd status` which parts the run has."""
        return self.root / "parts.json"

    @property
    def dataset(self) -> Path:
        return self.root / "dataset"

    def increment(self, index: int) -> Path:
        return self.root / "increments" / f"{index:02d}"

    def increments(self, last: int) -> list[Path]:
        return [self.increment(index) for index in range(1, last + 1)]

    def learner(self, increment: int, member: int) -> Path:
        return self.increment(increment) / "learners" / f"{member}.safetensors"

    def calibration(self, increment: int) -> Path:
        return self.increment(increment) / "calibration.json"

    def read_calibration(self, increment: int) -> dict[str, Any] | None:
        """Read the table of the calibration that holds for an increment; None where there is none."""
        paths = (self.calibration(index) for index in range(increment, 0, -1))
        path = next((path for path in paths if path.exists()), None)
        return read_json(path) if path else None

    def calibration_row(self, increment: int, index: int) -> Path:
        return self.increment(increment) / "calibration" / f"{index}.json"

    def fresh(self, increment: int) -> Path:
        """Return the losses on fresh candidates before an increment of the adaptive schedule."""
        return self.increment(increment) / "fresh.json"

    def last_increment(self, most: int) -> int:
        """Return the number of the last increment: `most`, unless the adaptive schedule has ended the set before."""
        ends = (i - 1 for i in range(1, most + 1) if self.fresh(i).exists() and read_json(self.fresh(i))["ended"])
        return next(ends, most)

    def group(self, increment: int, group: int) -> Path:
        return self.increment(increment) / "groups" / f"{group:04d}.json"

    def real_class(self, network: str, label: int) -> Path:
        """Return the summary of a class's real features in a network, for coverage."""
        return self.root / "coverage" / network / f"{label:04d}.safetensors"

    def modes(self, label: int) -> Path:
        return self.root / "modes" / f"{label:04d}.safetensors"

    def cell(self, name: str) -> Path:
        return self.root / "evaluation" / f"{name}.json"


def read_metrics(path: Path) -> Any:
    """Read a run's metrics.json. Errors: UserError for that of an earlier lgd, whose validity was the reference's."""
    metrics = read_json(path)
    if isinstance(metrics, dict) and "judge" not in metrics:
        raise UserError(f"{path}: of an earlier lgd, without a judge of validity; run the same command again")
    return metrics


def class_groups(classes: int, size: int) -> list[range]:
    """Split labels 0 to `classes` - 1 into groups of `size`, each one unit of work.

    The grouping follows from the configuration, never from the number of workers.
    """
    return [range(first, min(first + size, classes)) for first in range(0, classes, size)]


COLUMNS = ("file_name", "label", "class_name", "increment", "slot", "score", "sha256")
"""of the table of a set's images"""


def image_table(rows: Iterable[Sequence[object]]) -> str:
    """Return a table of images as CSV: a header and a row with the values of `COLUMNS` per image."""
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([COLUMNS, *rows])
    return table.getvalue()


COMBINATIONS = "combinations.json"
"""file of an ablation: the folder of each combination of values below `cells`, and the values in words"""


def record_combinations(root: Path, labels: Mapping[str, str]) -> None:
    """Add combinations, by the names of their folders, to an ablation's file."""
    path = root / COMBINATIONS
    write_json(path, {**(read_json(path) if path.exists() else {}), **labels})


def combinations(root: Path) -> dict[Path, str]:
    """Return the compare directories of an ablation, each with its values in words. Errors: UserError."""
    path = root / COMBINATIONS
    with reading(path):
        labels = read_json(path).items() if path.is_file() else ()
        return {root / "cells" / safe_name(folder): str(label) for folder, label in labels}


def runs_below(root: Path) -> list[Path]:
    """Return the runs of a comparison, or of an ablation in the order of its combinations."""
    return [run.parent for folder in (*combinations(root), root) for run in sorted(folder.glob("*-seed*/config.json"))]


def label_of(run: Path) -> str:
    """Return the values of a run in an ablation, in words; empty for another run."""
    above = run.resolve().parents
    return combinations(above[2]).get(above[0], "") if len(above) > 2 else ""
