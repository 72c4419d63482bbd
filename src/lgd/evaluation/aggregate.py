"""Averages over cells and runs, with their standard deviations, for metrics.json and comparison.json."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from lgd.classifiers.architectures import Classifier
from lgd.classifiers.train import accuracy
from lgd.data.splits import cached_splits
from lgd.distillation.layout import Run
from lgd.distillation.store import read_union
from lgd.errors import UserError
from lgd.storage.files import read_json

from .cells import Evaluation
from .intervals import paired_differences
from .schedule import Cell, evaluated_increments, evaluators

BASELINE = "dit"
"""method to whose redundancy the paper compares the others'"""


def spread_of(values: Sequence[float]) -> dict[str, Any]:
    """Return the mean, the sample standard deviation (0 for one value) and the number of some values."""
    return {"mean": fmean(values), "std": stdev(values) if len(values) > 1 else 0.0, "n": len(values)}


def summary(values: Sequence[float]) -> dict[str, Any]:
    return {**spread_of(values), "values": list(values)}


def summarise(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Average cells over seeds: the accuracy after the last epoch, and under `best` each seed's best in training."""
    return {**summary([cell["accuracy"] for cell in cells]), "best": summary([cell["best"] for cell in cells])}


def read_cell(path: Path, *keys: str) -> Any:
    """Read a finished cell. Errors: UserError naming a file that is missing, corrupt, or lacks one of `keys`."""
    cell = read_json(path)
    if not isinstance(cell, dict) or any(key not in cell for key in keys):
        raise UserError(f"{path}: corrupt, not a finished cell; delete it and run the same command")
    return cell


def collect(evaluation: Evaluation, run: Run, judge: Classifier, reference: Classifier) -> dict[str, Any]:
    """Aggregate the finished cells of a run: accuracy and validity after each evaluated increment, and redundancy.

    Validity is the percentage of the images since the increment evaluated before that the judge classifies as labelled;
    `reference_validity` is the same of the reference, which guided their making.
    """
    config, stages = evaluation.config, evaluation.stages
    names = cached_splits(evaluation.dataset).train.class_names
    seeds = range(config.seeds)
    increments: list[dict[str, Any]] = []
    images, before = 0, 0
    for i in evaluated_increments(config, stages):
        added = read_union([run.increment(k) for k in range(before + 1, i + 1)], names)
        images, before = images + len(added), i
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
                "validity": accuracy(judge, added),
                "reference_validity": accuracy(reference, added),
            }
        )
    last = [run.cell(Cell("accuracy", evaluators(config)[0], stages.increments, seed).name) for seed in seeds]
    increments[-1]["confusion"] = summed([read_json(file).get("confusion") for file in last])
    rows = []
    for seed in range(config.redundancy_seeds):
        cells = [Cell("redundancy", evaluators(config)[0], i + 1, seed) for i in range(stages.increments)]
        rows.append([read_cell(run.cell(cell.name), "accuracy")["accuracy"] for cell in cells])
    return {"increments": increments, "redundancy": redundancy(rows, len(names)) if rows else None}


def summed(confusions: Sequence[Sequence[Sequence[int]] | None]) -> list[list[int]] | None:
    """Add confusion matrices entry by entry; None where one was not recorded."""
    known = [matrix for matrix in confusions if matrix is not None]
    if len(known) < len(confusions) or not known:
        return None
    return [[sum(entries) for entries in zip(*rows, strict=True)] for rows in zip(*known, strict=True)]


def redundancy(matrices: Sequence[Sequence[Sequence[float]]], classes: int) -> dict[str, Any]:
    """Return the mean matrix over classifiers, the mean of its entries off the diagonal, and their relation to chance.

    matrices: per classifier K x K, entry [i][j] the accuracy in percent on increment j after training on i (method.md,
    section 6.1). `values` has the mean off the diagonal of each classifier, `chance` the accuracy of guessing, and
    `above_chance` the distance to it, negative where increments contradict each other. With K = 1 there is no
    off-diagonal and the means are None.
    """
    values = [fmean(off) for matrix in matrices if (off := off_diagonal(matrix))]
    mean, chance = fmean(values) if values else None, 100 / classes
    return {
        "matrix": mean_matrix(matrices),
        "mean_off_diagonal": mean,
        "values": values,
        "chance": chance,
        "above_chance": None if mean is None else mean - chance,
    }


def off_diagonal(matrix: Sequence[Sequence[float]]) -> list[float]:
    return [value for i, row in enumerate(matrix) for j, value in enumerate(row) if i != j]


def mean_matrix(matrices: Sequence[Sequence[Sequence[float]]]) -> list[list[float]]:
    """Average matrices of one shape entry by entry; of none, return an empty list."""
    return [[fmean(entries) for entries in zip(*rows, strict=True)] for rows in zip(*matrices, strict=True)]


def mean_validity(runs: Iterable[Mapping[str, Any]], key: str = "validity") -> float:
    """Return the percentage of all images of some runs, by their metrics, that a network classifies as labelled."""
    valid, images = 0.0, 0
    for run in runs:
        before = 0
        for increment in run["increments"]:
            valid += increment[key] * (increment["images"] - before)
            before = increment["images"]
        images += before
    return valid / images


def compare(metrics: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Return the body of comparison.json from the metrics of each method's runs, of which there is at least one."""
    methods: dict[str, Any] = {name: average_runs(runs) for name, runs in metrics.items()}
    first = next(iter(metrics.values()))[0]
    return {
        "methods": methods,
        "redundancy_reduction_vs_dit": lower_than_baseline(methods).get("lgd"),
        "redundancy_reduction_above_chance_vs_dit": lower_than_baseline(methods, above_chance=True).get("lgd"),
        "differences": paired_differences(metrics),
        "protocol": first["protocol"],
        "judge": first["judge"],
    }


def lower_than_baseline(
    methods: Mapping[str, Mapping[str, Any]], above_chance: bool = False
) -> dict[str, float | None]:
    """Return by how many percent each method's redundancy, or that above chance, is lower than the baseline's."""
    base = methods.get(BASELINE, {}).get("redundancy")
    chance = {name: method["chance"] or 0.0 if above_chance else 0.0 for name, method in methods.items()}
    return {name: reduction(base, method["redundancy"], chance[name]) for name, method in methods.items()}


def reduction(base: float | None, value: float | None, chance: float = 0.0) -> float | None:
    """Return by how many percent `value` is lower than `base` above `chance`; None where that is not known."""
    if base is None or value is None or base <= chance:
        return None
    return 100 * (base - max(value, chance)) / (base - chance)


def average_runs(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Average one method's runs: accuracy by IPC, and by architecture and IPC, redundancy and validity.

    runs: their metrics. Validity and redundancy are means over increments and runs. The deviation of redundancy is over
    runs, that of one run over its classifiers.
    """
    headline: dict[str, Any] = {}
    by_architecture: dict[str, dict[str, Any]] = {}
    by_ipc: dict[int, list[Any]] = {}  # runs of the adaptive schedule differ in their number of increments
    for run in runs:
        for increment in run["increments"]:
            by_ipc.setdefault(increment["ipc"], []).append(increment)
    for ipc, increments in ((str(ipc), by_ipc[ipc]) for ipc in sorted(by_ipc)):
        headline[ipc] = average_cells([increment["accuracy"] for increment in increments])
        for name in increments[0]["architectures"]:
            cells = [increment["architectures"][name] for increment in increments]
            by_architecture.setdefault(name, {})[ipc] = average_cells(cells)
    matrices = [run["redundancy"] for run in runs if run["redundancy"]]
    known = [{"mean": found["mean_off_diagonal"], "values": found["values"]} for found in matrices if found["values"]]
    most = max((len(found["matrix"]) for found in matrices), default=0)
    spread = _over_runs(known) if known else {"mean": None, "std": 0.0, "n": 0}
    return {
        "accuracy": headline,
        "architectures": by_architecture,
        "redundancy": spread["mean"],
        "redundancy_std": spread["std"],
        "redundancy_n": spread["n"],
        "chance": matrices[0]["chance"] if matrices else None,
        "validity": mean_validity(runs),
        "reference_validity": mean_validity(runs, "reference_validity"),
        "copies": mean_copies([run["copies"] for run in runs if "copies" in run]),
        "matrix": mean_matrix([found["matrix"] for found in matrices if len(found["matrix"]) == most]),
        "confusion": summed([run["increments"][-1].get("confusion") for run in runs]),
    }


def mean_copies(runs: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """Average the percent of copies over runs, kind by kind; None where no run has it."""
    known = {key: [value for run in runs if (value := run[key]) is not None] for key in ("exact", "near", "anchor")}
    return {key: fmean(values) if values else None for key, values in known.items()}


def average_cells(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Average one cell of several runs, last and `best`. `best` is chosen on the test set and flatters.

    The deviation is over the runs' means, that of one run over its seeds; `n` is the number of what it is over.
    """
    best = [cell["best"] for cell in cells]
    return {**_over_runs(cells), "runs": len(cells), "best": _over_runs(best)}


def _over_runs(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return spread_of(cells[0]["values"] if len(cells) == 1 else [cell["mean"] for cell in cells])
