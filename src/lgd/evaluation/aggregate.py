"""What the finished cells of a run say together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from lgd.classifiers.architectures import Classifier
from lgd.classifiers.train import accuracy
from lgd.config import Config
from lgd.data.imageset import concatenate
from lgd.data.splits import cached_splits
from lgd.distillation.store import Run, read_increment
from lgd.errors import UserError
from lgd.storage.files import read_json

from .cells import accuracy_kind, evaluated_increments, evaluators


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Mean, sample standard deviation (0 for one value), their number and the values."""
    std = stdev(values) if len(values) > 1 else 0.0
    return {"mean": fmean(values), "std": std, "n": len(values), "values": list(values)}


def summarise(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Over seeds: the accuracy after the last epoch, and under `best` the best that each seed reached in training."""
    return {**summary([cell["accuracy"] for cell in cells]), "best": summary([cell["best"] for cell in cells])}


def read_cell(path: Path, *keys: str) -> Any:
    """One finished cell. Errors: UserError naming a file that is missing, corrupt, or lacks one of `keys`."""
    cell = read_json(path)
    if not isinstance(cell, dict) or any(key not in cell for key in keys):
        raise UserError(f"{path}: corrupt, not a finished cell; delete it and run the same command")
    return cell


def mean_validity(runs: Iterable[Mapping[str, Any]]) -> float:
    """Percent of all images of some runs that the reference classifies as labelled. runs: their metrics."""
    valid, images = 0.0, 0
    for run in runs:
        before = 0
        for increment in run["increments"]:
            valid += increment["validity"] * (increment["images"] - before)
            before = increment["images"]
        images += before
    return valid / images


def redundancy(matrices: Sequence[Sequence[Sequence[float]]]) -> dict[str, Any]:
    """Mean matrix over seeds and the mean of its entries off the diagonal (method.md, section 6.1).

    matrices: per seed K x K, entry [i][j] the accuracy on increment j after training on i. With K = 1 there is no
    off-diagonal and the mean is None.
    """
    K = len(matrices[0])
    matrix = [[fmean(m[i][j] for m in matrices) for j in range(K)] for i in range(K)]
    off = [matrix[i][j] for i in range(K) for j in range(K) if i != j]
    return {"matrix": matrix, "mean_off_diagonal": fmean(off) if off else None}


def collect(config: Config, run: Run, reference: Classifier) -> dict[str, Any]:
    """Put the finished cells together: the body of metrics.json, without the times.

    `increments` holds those after which the set was judged; validity is that of the images since the one before.
    """
    splits = cached_splits(config.dataset)
    K, classes = config.stages.increments, len(splits.train.class_names)
    seeds = range(config.evaluation.seeds)
    judged = evaluated_increments(config)
    increments: list[dict[str, Any]] = []
    images, before = 0, 0
    for i in judged:
        added = [read_increment(run.increment(k), splits.train.class_names) for k in range(before + 1, i + 1)]
        images, before = images + sum(map(len, added)), i
        by_architecture = {
            name: summarise([read_cell(run.cell(accuracy_kind(name), i, seed), "accuracy", "best") for seed in seeds])
            for name in evaluators(config.evaluation)
        }
        increments.append(
            {
                "index": i,
                "ipc": images // classes,
                "images": images,
                "accuracy": by_architecture[evaluators(config.evaluation)[0]],
                "architectures": by_architecture,
                "validity": accuracy(reference, concatenate(added)),
            }
        )
    rows = [
        [read_cell(run.cell("redundancy", i, seed), "accuracy")["accuracy"] for i in range(1, K + 1)]
        for seed in range(config.evaluation.redundancy_seeds)
    ]
    return {
        "method": config.method,
        "seed": config.seed,
        "dataset": config.dataset.source,
        "protocol": {"name": config.evaluation.protocol, "epochs_factor": config.evaluation.epochs_factor},
        "reference": {"accuracy": accuracy(reference, splits.test)},
        "increments": increments,
        "redundancy": redundancy(rows) if rows else None,
    }
