"""The trainings and measurements of an analysis, as units of work that each write one JSON file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field

from lgd.classifiers.architectures import Classifier, feature_batches, features_of
from lgd.classifiers.train import load_classifier, save_classifier, train_classifier
from lgd.config import Config, Count, Whole
from lgd.data.imageset import ImageSet, concatenate
from lgd.data.splits import cached_splits
from lgd.execution.hardware import resolve_device
from lgd.execution.units import Unit
from lgd.rng import derive_seed, generator
from lgd.storage.files import safe_name, write_json

from .dynamics import learning_dynamics
from .fidelity import fid, kid, precision_recall
from .incremental import train_incrementally
from .inputs import Source, load_set
from .neighbours import copying
from .redundancy import redundancy_row
from .validity import validity


@dataclass(frozen=True)
class Settings:
    """What an analysis measures; part of its configuration."""

    seeds: Count = 3
    """fresh classifiers for every training"""
    epochs: Annotated[int, Field(ge=2, le=10**6)] = 50
    """of the learning dynamics, and of each stage of incremental training"""
    increments: Count = 5
    """parts that a plain folder is split into"""
    split_seed: Whole = 0
    """of that split"""
    real_limit: Count = 10_000
    """most real images used for dynamics, FID, KID, precision and recall, drawn at random"""


@dataclass(frozen=True)
class Study:
    """What every unit needs to know."""

    root: Path
    config: Config
    """dataset, reference and evaluation classifier that all sets share"""
    settings: Settings
    reference: Path

    def cell(self, owner: str, name: str) -> Path:
        return self.root / "cells" / safe_name(owner) / f"{name}.json"

    @property
    def device(self) -> str:
        return resolve_device(self.config.compute.device)


REAL = "real images"
"""owner of the cells of the real set"""


def units_of(study: Study, source: Source, parts: int) -> list[Unit]:
    """Everything to be measured of one set with `parts` increments."""
    seeds = range(study.settings.seeds)
    cells: list[tuple[str, Any, tuple[Any, ...]]] = [("judged", judge, ())]
    cells += [(f"dynamics-{seed}", measure_dynamics, (seed,)) for seed in seeds]
    if parts > 1:
        cells += [(f"incremental-{seed}", measure_increments, (seed,)) for seed in seeds]
    cells += [(f"redundancy-{i}-{seed}", measure_redundancy, (i, seed)) for i in range(parts) for seed in seeds]
    return [
        Unit(f"{source.name}: {name}", function, (study, source, *rest), study.cell(source.name, name))
        for name, function, rest in cells
    ]


def units_of_real(study: Study) -> list[Unit]:
    """The real set's learning dynamics, the longest trainings of all."""
    return [
        Unit(f"real: dynamics {seed}", measure_real, (study, seed), study.cell(REAL, f"dynamics-{seed}"))
        for seed in range(study.settings.seeds)
    ]


def measure_redundancy(study: Study, source: Source, index: int, seed: int) -> None:
    parts = load_set(source).parts
    row = redundancy_row(parts, index, study.config.evaluation.classifier, seed, study.device)
    write_json(study.cell(source.name, f"redundancy-{index}-{seed}"), {"accuracy": row})


def measure_increments(study: Study, source: Source, seed: int) -> None:
    splits = cached_splits(study.config.dataset)
    classifier, epochs = study.config.evaluation.classifier, study.settings.epochs
    parts = load_set(source).parts
    found = train_incrementally(parts, splits.train, splits.test, classifier, epochs, seed, study.device)
    write_json(study.cell(source.name, f"incremental-{seed}"), found)


def measure_dynamics(study: Study, source: Source, seed: int) -> None:
    _write_dynamics(study, source.name, concatenate(load_set(source).parts), seed)


def measure_real(study: Study, seed: int) -> None:
    _write_dynamics(study, REAL, real_sample(study), seed)


def _write_dynamics(study: Study, owner: str, train: ImageSet, seed: int) -> None:
    real = cached_splits(study.config.dataset).train
    classifier, epochs = study.config.evaluation.classifier, study.settings.epochs
    mean, deviation = learning_dynamics(train, real, classifier, epochs, seed, study.device)
    write_json(study.cell(owner, f"dynamics-{seed}"), {"mean": mean.tolist(), "deviation": deviation.tolist()})


def judge(study: Study, source: Source) -> None:
    """All that needs the reference and no training."""
    parts, reference = load_set(source).parts, load_reference(study)
    real, sample = cached_splits(study.config.dataset).train, real_sample(study)
    union = concatenate(parts)
    synthetic, among = features_of(reference, union), features_of(reference, sample)
    judged = [validity(part, reference) for part in parts]
    parts_of_real = partial(feature_batches, reference, real)
    k = kid(among, synthetic, seed=0)
    covering = precision_recall(among, synthetic)
    found = {
        "validity": [vars(one) for one in judged],
        "neighbours": copying(union, real, synthetic, parts_of_real),
        "fid": fid(among, synthetic),
        "kid": k and {"mean": k[0], "std": k[1]},
        "precision": covering and covering[0],
        "recall": covering and covering[1],
    }
    write_json(study.cell(source.name, "judged"), found)


def real_sample(study: Study) -> ImageSet:
    """The real training set, or `real_limit` images of it, the same for every set."""
    real, limit = cached_splits(study.config.dataset).train, study.settings.real_limit
    if len(real) <= limit:
        return real
    return real.subset(torch.randperm(len(real), generator=generator("analysis", "real sample"))[:limit].sort().values)


def ensure_reference(study: Study) -> None:
    """Train the reference if no run has left one: its seed does not depend on a run, so it is the same one."""
    if not study.reference.exists():
        real, config = cached_splits(study.config.dataset).train, study.config.reference
        reference = train_classifier(real, config, derive_seed("reference", config.seed), "reference", study.device)
        save_classifier(reference, study.reference, config, real)


def load_reference(study: Study) -> Classifier:
    """The reference classifier, read once per process."""
    return _reference(study, study.reference.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _reference(study: Study, version: int) -> Classifier:
    like = cached_splits(study.config.dataset).train
    return load_classifier(study.reference, study.config.reference, like, study.device)
