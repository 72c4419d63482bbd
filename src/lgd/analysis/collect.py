"""Finished cells put together: what analysis.json says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean, stdev
from typing import Any

import torch
from torch import Tensor

from lgd.data.splits import cached_splits
from lgd.evaluation.aggregate import redundancy, summary
from lgd.storage.files import read_json

from .dynamics import BORDERS, histogram, jensen_shannon, shares
from .inputs import Source, StudiedSet
from .redundancy import reduction
from .study import REAL, Study, real_sample
from .validity import DOUBTFUL, correlation


def collect(study: Study, sets: Mapping[Source, StudiedSet]) -> dict[str, Any]:
    """Every set's numbers, and the groups of sets (a method's runs) averaged."""
    real = _dynamics(study, REAL)
    found = {source.name: _set(study, source, studied, real) for source, studied in sets.items()}
    return {
        "dataset": study.config.dataset.source,
        "eval_split": study.config.dataset.eval_split,
        "settings": {**asdict(study.settings), "borders": asdict(BORDERS), "doubtful": DOUBTFUL},
        "real": {
            "images": len(cached_splits(study.config.dataset).train),
            "images_used": len(real_sample(study)),
            "dynamics": _mean_shares(real),
        },
        "sets": found,
        "groups": groups(found),
    }


def _set(study: Study, source: Source, studied: StudiedSet, real: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Any]:
    """One set. Per-image values stay in the cells."""
    seeds = range(study.settings.seeds)
    K = len(studied.parts)
    judged = read_json(study.cell(source.name, "judged"))
    matrices = [
        [read_json(study.cell(source.name, f"redundancy-{i}-{seed}"))["accuracy"] for i in range(K)] for seed in seeds
    ]
    dynamics = _dynamics(study, source.name)
    divergence = [
        jensen_shannon(histogram(*own), histogram(*theirs)) for own, theirs in zip(dynamics, real, strict=True)
    ]
    incremental = None
    if K > 1:
        incremental = _incremental([read_json(study.cell(source.name, f"incremental-{seed}")) for seed in seeds])
    neighbours = {key: value for key, value in judged["neighbours"].items() if key not in ("nearest", "distance")}
    return {
        "group": source.group,
        "path": str(source.path),
        "images": sum(len(part) for part in studied.parts),
        "increments": [len(part) for part in studied.parts],
        "notes": list(studied.notes),
        "redundancy": redundancy(matrices),
        "incremental": incremental,
        "dynamics": {**_mean_shares(dynamics), "divergence_from_real": summary(divergence)},
        "validity": _validity(judged["validity"], incremental.pop("difficulty") if incremental else None),
        "neighbours": neighbours,
        **{name: judged[name] for name in ("fid", "kid", "precision", "recall")},
    }


def _dynamics(study: Study, owner: str) -> list[tuple[Tensor, Tensor]]:
    cells = [read_json(study.cell(owner, f"dynamics-{seed}")) for seed in range(study.settings.seeds)]
    return [(torch.tensor(cell["mean"]), torch.tensor(cell["deviation"])) for cell in cells]


def _mean_shares(dynamics: Sequence[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Over seeds."""
    all_shares = [shares(*one) for one in dynamics]
    return {name: fmean(one[name] for one in all_shares) for name in all_shares[0]}


def _incremental(cells: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds, entry by entry."""

    def over_seeds(name: str) -> list[float]:
        return [fmean(values) for values in zip(*(cell[name] for cell in cells), strict=True)]

    jumps = [fmean(cell["jump"]) for cell in cells]
    return {
        "mean_jump": summary(jumps),
        "jump": over_seeds("jump"),
        "accuracy": over_seeds("accuracy"),
        "gain": over_seeds("gain"),
        "curve": over_seeds("curve"),
        "difficulty": [
            [fmean(values) for values in zip(*parts, strict=True)]
            for parts in zip(*(cell["difficulty"] for cell in cells), strict=True)
        ],
    }


def _validity(judged: Sequence[dict[str, Any]], difficulty: Sequence[Sequence[float]] | None) -> dict[str, Any]:
    probability = [one["probability"] for one in judged]
    found: dict[str, Any] = {
        "valid": [one["valid"] for one in judged],
        "outliers": [one["outliers"] for one in judged],
        "mean_valid": _weighted([one["valid"] for one in judged], probability),
        "mean_outliers": _weighted([one["outliers"] for one in judged], probability),
        "mean_difficulty": None,
        "correlation": None,
    }
    if difficulty:
        flat = [value for part in difficulty for value in part]
        found["mean_difficulty"] = fmean(flat)
        found["correlation"] = correlation([p for part in probability[1:] for p in part], flat)
    return found


def _weighted(values: Sequence[float], parts: Sequence[Sequence[float]]) -> float:
    """Mean of the increments' values, each counted by its images."""
    return sum(v * len(part) for v, part in zip(values, parts, strict=True)) / sum(len(part) for part in parts)


COLUMNS: dict[str, tuple[str, ...]] = {
    "redundancy": ("redundancy", "mean_off_diagonal"),
    "loss_jump": ("incremental", "mean_jump", "mean"),
    "easy": ("dynamics", "easy"),
    "informative": ("dynamics", "informative"),
    "hard": ("dynamics", "hard"),
    "divergence": ("dynamics", "divergence_from_real", "mean"),
    "difficulty": ("validity", "mean_difficulty"),
    "valid": ("validity", "mean_valid"),
    "outliers": ("validity", "mean_outliers"),
    "close": ("neighbours", "close"),
    "exact_copies": ("neighbours", "exact_copies"),
    "fid": ("fid",),
    "kid": ("kid", "mean"),
    "precision": ("precision",),
    "recall": ("recall",),
}
"""the headline numbers, by where they stand in a set's entry"""


def groups(sets: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and deviation over the sets of each group; None where no set has the number."""
    found: dict[str, Any] = {}
    for group in dict.fromkeys(entry["group"] for entry in sets.values()):
        members = [entry for entry in sets.values() if entry["group"] == group]
        values = {name: [v for m in members if (v := _at(m, path)) is not None] for name, path in COLUMNS.items()}
        found[group] = {
            "sets": len(members),
            **{
                name: {"mean": fmean(v), "std": stdev(v) if len(v) > 1 else 0.0} if v else None
                for name, v in values.items()
            },
        }
    if "dit" in found and found["dit"]["redundancy"]:
        base = found["dit"]["redundancy"]["mean"]
        for entry in found.values():
            own = entry["redundancy"]
            entry["redundancy_reduction_vs_dit"] = own and reduction(base, own["mean"])
    return found


def _at(entry: Any, path: Sequence[str]) -> Any:
    for key in path:
        if entry is None:
            return None
        entry = entry[key]
    return entry
