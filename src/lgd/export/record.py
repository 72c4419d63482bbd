"""The record in an export from which `lgd evaluate` repeats the accuracy that the card states."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lgd.config import Config, from_dict, upgraded
from lgd.errors import UserError
from lgd.evaluation.intervals import prediction_interval
from lgd.storage.files import read_json

from .samples import Export

FILE = "accuracy.json"
"""no name with `test`, `eval` or `train` in it, which `datasets` would take for a split of an image folder"""


@dataclass(frozen=True)
class Stated:
    """The accuracy that a card states, and how it was measured."""

    config: Config
    """dataset and evaluation; the source of the images is empty where it was a path"""
    accuracy: dict[str, list[float]]
    """in percent, of every classifier that was trained on the whole set, by architecture"""


def record_of(export: Export) -> dict[str, Any]:
    """Return what `stated_in` reads: the part of a run's configuration, and the accuracies of its whole set."""
    config, last = export.config, export.metrics["increments"][-1]
    source = str(config["dataset"]["source"])
    public = source if ":" not in source or source.startswith("hf:") else ""
    return {
        "dataset": {**config["dataset"], "source": public},
        "evaluation": {**config["evaluation"], "ipc": []},
        "accuracy": {name: own["values"] for name, own in last["architectures"].items()},
    }


def stated_in(folder: Path) -> Stated | None:
    """Return what the record in a folder states; None without one. Errors: UserError for a corrupt one."""
    path = folder / FILE
    if not path.is_file():
        return None
    record = read_json(path)
    if not isinstance(record, dict) or not isinstance(accuracy := record.pop("accuracy", None), dict):
        raise UserError(f"{path}: corrupt, not a record of an evaluation")
    return Stated(from_dict(upgraded(record), str(path)), accuracy)


def same_evaluation(stated: Stated, config: Config) -> bool:
    """Return whether a configuration measures as the card did: all but the images' source and number of classifiers."""
    evaluations = (replace(own.evaluation, seeds=1, redundancy_seeds=0, ipc=()) for own in (stated.config, config))
    datasets = (replace(own.dataset, source="") for own in (stated.config, config))
    return len(set(map(repr, evaluations))) == 1 and len(set(map(repr, datasets))) == 1


def interval_text(values: Sequence[float], count: int) -> str:
    """Format the 95 % prediction interval of the mean of `count` new values."""
    found = prediction_interval(values, count)
    return "-" if found is None else f"{found[0]:.1f} to {found[1]:.1f}"
