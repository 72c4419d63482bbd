"""What the finished cells of a run say together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from lgd.classifiers.architectures import Classifier
from lgd.classifiers.train import accuracy
from lgd.data.imageset import concatenate
from lgd.data.splits import cached_splits
from lgd.distillation.layout import Run
from lgd.distillation.store import read_increment
from lgd.errors import UserError
from lgd.storage.files import read_json

from .cells import Evaluation
from .schedule import Cell, evaluated_increments, evaluators


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


def collect(evaluation: Evaluation, run: Run, reference: Classifier) -> dict[str, Any]:
    """Aggregate the finished cells of a run: accuracy and validity after each evaluated increment, and redundancy.

    Validity is that of the images since the increment evaluated before.
    """
    config, stages = evaluation.config, evaluation.stages
    names = cached_splits(evaluation.dataset).train.class_names
    seeds = range(config.seeds)
    increments: list[dict[str, Any]] = []
    images, before = 0, 0
    for i in evaluated_increments(config, stages):
        added = [read_increment(run.increment(k), names) for k in range(before + 1, i + 1)]
        images, before = images + sum(map(len, added)), i
        by_architecture = {}
        for name in evaluators(config):
            files = [run.cell(Cell("accuracy", name, i, seed).name) for seed in seeds]
            by_architecture[name] = summarise([read_cell(file, "accuracy", "best") for file in files])
        increments.append(
            {
                "index": i,
                "ipc": images // len(names),
                "images": images,
                "accuracy": by_architecture[evaluators(config)[0]],
                "architectures": by_architecture,
                "validity": accuracy(reference, concatenate(added)),
            }
        )
    rows = []
    for seed in range(config.redundancy_seeds):
        cells = [Cell("redundancy", evaluators(config)[0], i + 1, seed) for i in range(stages.increments)]
        rows.append([read_cell(run.cell(cell.name), "accuracy")["accuracy"] for cell in cells])
    return {"increments": increments, "redundancy": redundancy(rows) if rows else None}
