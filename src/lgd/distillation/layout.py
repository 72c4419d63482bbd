"""Paths of a run directory, and the groups of classes that an increment is made in. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lgd.errors import UserError
from lgd.storage.files import read_json


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
    def dataset(self) -> Path:
        return self.root / "dataset"

    def increment(self, index: int) -> Path:
        return self.root / "increments" / f"{index:02d}"

    def increments(self, last: int) -> list[Path]:
        """Return the folders of increments 1 to `last`."""
        return [self.increment(index) for index in range(1, last + 1)]

    def learner(self, increment: int, member: int) -> Path:
        return self.increment(increment) / "learners" / f"{member}.safetensors"

    def group(self, increment: int, group: int) -> Path:
        return self.increment(increment) / "groups" / f"{group:04d}.json"

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
