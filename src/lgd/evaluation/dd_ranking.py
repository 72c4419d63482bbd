"""DD-Ranking's label-robust and augmentation-robust scores, from classifiers trained by our own protocols.

Both compare a synthetic set with as many real images chosen at random, so that neither a teacher's labels nor
augmentation counts as the set's merit (docs/protocols.md has the definitions).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lgd.classifiers.architectures import Classifier, predict
from lgd.data.imageset import ImageSet
from lgd.data.splits import cached_splits
from lgd.errors import UserError
from lgd.execution.units import Unit
from lgd.rng import generator as rng
from lgd.storage.files import safe_name, write_json

from .aggregate import read_cell, summary
from .cells import Evaluation, evaluation_images, train_and_test
from .protocols import network_for
from .schedule import evaluators
from .soft_labels import load_teacher

WEIGHT = 0.5
"""of the improvement over random images in the label-robust score, and of augmentation in the other"""
HARD: dict[str, Any] = {"temperature": 0.0}
"""a training's fields without a teacher"""
PLAIN: dict[str, Any] = {
    "crop_padding": 0, "crop_scale": 0.0, "flip": False, "colour_jitter": 0.0, "lighting": 0.0, "patch_shuffle": 0,
    "cutmix": False,
}  # fmt: skip
"""a training's fields without augmentation"""


def normalised(alpha: float) -> float:
    """Return (exp(alpha) - 1/e) / (e - 1/e) in percent: 0 at -1, 100 at 1, 27 at 0."""
    return 100 * (exp(alpha) - exp(-1)) / (exp(1) - exp(-1))


def label_robust(real_hard: float, synthetic_hard: float, synthetic: float, random: float) -> dict[str, float]:
    """Return HLR, IOR and the label-robust score of accuracies in percent.

    Hard-label recovery HLR = real_hard - synthetic_hard and improvement over random IOR = synthetic - random, in
    points; the score normalises alpha = w IOR - (1 - w) HLR of accuracies as shares, with w = 1/2.
    """
    hlr, ior = real_hard - synthetic_hard, synthetic - random
    return {"hlr": hlr, "ior": ior, "lrs": normalised((WEIGHT * ior - (1 - WEIGHT) * hlr) / 100)}


def augmentation_robust(
    synthetic: float, random: float, synthetic_plain: float, random_plain: float
) -> dict[str, float]:
    """Return both improvements over random, in points, and the augmentation-robust score of accuracies in percent.

    The score normalises beta = w (synthetic - random) + (1 - w) (synthetic_plain - random_plain), as shares, w = 1/2.
    """
    augmented, plain = synthetic - random, synthetic_plain - random_plain
    beta = (WEIGHT * augmented + (1 - WEIGHT) * plain) / 100
    return {"augmented": augmented, "plain": plain, "ars": normalised(beta)}


@dataclass(frozen=True)
class Ranking:
    """The options of DD-Ranking's scores."""

    real_accuracy: float | None = None
    """of a classifier trained on all real images, in percent; None: measured"""


@dataclass(frozen=True)
class Scoring:
    """A set whose scores are asked for. Errors: UserError when nothing can label random images as the set is."""

    evaluation: Evaluation
    synthetic: ImageSet
    stored: Tensor | None
    """logits that lie beside the images, if any"""
    seeds: int
    cells: Path
    """folder of the evaluation's cells; those of the scores lie in `dd-ranking` below it"""
    real_accuracy: float | None
    """of a classifier trained on all real images, in percent; None: measured"""

    def __post_init__(self) -> None:
        if self.stored is not None and self.evaluation.teacher is None:
            raise UserError("--dd-ranking: random real images need soft labels, too: set evaluation.teacher.weights")

    @property
    def kinds(self) -> tuple[str, ...]:
        """List the trainings beside the evaluation's own classifiers, which with hard labels serve as hard ones."""
        soft = ("synthetic-hard",) if self.evaluation.teacher else ()
        real = ("real-hard",) if self.real_accuracy is None else ()
        return (*real, *soft, "random", "synthetic-plain", "random-plain")

    def done(self, kind: str, architecture: str, seed: int) -> Path:
        return self.cells / "dd-ranking" / f"{kind}-{safe_name(architecture)}-{seed}.json"


def score_units(scoring: Scoring) -> list[Unit]:
    """Return a unit for each classifier of `Scoring.kinds`, architecture and seed."""
    return [
        Unit(f"{kind}, {name}, seed {seed}", score_cell, (scoring, kind, name, seed), scoring.done(kind, name, seed))
        for kind in scoring.kinds
        for name in evaluators(scoring.evaluation.config)
        for seed in range(scoring.seeds)
    ]


def score_cell(scoring: Scoring, kind: str, architecture: str, seed: int) -> None:
    """Train a classifier of one kind and measure its accuracy on the evaluation's test images."""
    evaluation = scoring.evaluation
    source, _, how = kind.partition("-")
    train = {
        "synthetic": lambda: scoring.synthetic,
        "random": lambda: random_images(scoring, seed),
        "real": lambda: cached_splits(evaluation.dataset).train,
    }[source]()
    ipc, classes = -(-len(train) // len(train.class_names)), len(train.class_names)
    network = network_for(evaluation.config, architecture, ipc, train.shape, classes)
    training = replace(network.training, **{"hard": HARD, "plain": PLAIN}.get(how, {}))
    config = replace(evaluation.config, protocol="configured", classifier=replace(network, training=training))
    own = replace(evaluation, config=replace(config, epochs_factor=1.0))
    teacher = soft_labels(scoring, train, source) if training.temperature else None
    test = evaluation_images(evaluation)
    write_json(scoring.done(kind, architecture, seed), train_and_test(own, train, test, architecture, seed, teacher)[1])


def soft_labels(scoring: Scoring, train: ImageSet, source: str) -> Classifier | Tensor:
    """Return what labels a set as the evaluation's set is labelled: the teacher, or one label for each image."""
    evaluation = scoring.evaluation
    if scoring.stored is not None and source == "synthetic":
        return scoring.stored
    assert evaluation.teacher is not None, "refused before"
    teacher = load_teacher(evaluation.teacher, train, evaluation.device)
    return predict(teacher, train) if evaluation.config.teacher.stored else teacher


def random_images(scoring: Scoring, seed: int) -> ImageSet:
    """Choose as many real training images of every class as the set has, by the seed. Errors: UserError."""
    train, chosen = cached_splits(scoring.evaluation.dataset).train, []
    for label, name in enumerate(train.class_names):
        members, count = train.indices_of(label), len(scoring.synthetic.indices_of(label))
        if len(members) < count:
            raise UserError(f"--dd-ranking: class {name!r} has {len(members)} real images, {count} synthetic ones")
        draw = rng(scoring.evaluation.seed, "random real images", seed, name)
        chosen.append(members[torch.randperm(len(members), generator=draw)[:count]])
    return train.subset(torch.cat(chosen))


def scores(scoring: Scoring, own: Mapping[str, Sequence[Path]]) -> dict[str, Any]:
    """Aggregate finished cells into both scores of each architecture, after the last epoch and at the best evaluation.

    own: the files of the set's own classifiers by architecture, in the order of their seeds.
    """
    return {
        name: {"last": _scores(scoring, name, files, "accuracy"), "best": _scores(scoring, name, files, "best")}
        for name, files in own.items()
    }


def _scores(scoring: Scoring, name: str, files: Sequence[Path], key: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for seed, file in enumerate(files):
        row = {"synthetic": read_cell(file, key)[key], "real-hard": scoring.real_accuracy}
        row["synthetic-hard"] = row["synthetic"]
        for kind in scoring.kinds:
            row[kind] = read_cell(scoring.done(kind, name, seed), key)[key]
        rows.append(
            row
            | label_robust(row["real-hard"], row["synthetic-hard"], row["synthetic"], row["random"])
            | augmentation_robust(row["synthetic"], row["random"], row["synthetic-plain"], row["random-plain"])
        )
    return {column.replace("-", "_"): summary([row[column] for row in rows]) for column in rows[0]}
