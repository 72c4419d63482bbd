"""The evaluation of a set as independent units of work: one classifier and one JSON file for each cell."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from lgd.classifiers.architectures import Classifier, predict
from lgd.classifiers.train import accuracy, train_classifier
from lgd.config import DatasetConfig, EvaluationConfig, StagesConfig
from lgd.data.imageset import ImageSet
from lgd.data.splits import cached_splits, cached_test
from lgd.distillation.layout import Run
from lgd.distillation.store import read_increment, read_manifest, read_union
from lgd.errors import naming
from lgd.execution.units import Unit
from lgd.rng import derive_seed
from lgd.storage.files import safe_name, write_json

from .permutation import permutation_of
from .protocols import network_for, protocol_named
from .schedule import Cell, cells_of, evaluators
from .soft_labels import FILE, Teacher, load_teacher, stored_soft_labels

MOST_CLASSES = 50
"""number of classes up to which cells record their confusion matrix"""


@dataclass(frozen=True)
class Evaluation:
    """How a set is evaluated. It holds no images, so that it travels to worker processes."""

    dataset: DatasetConfig
    """whose test images the classifiers are tested on"""
    config: EvaluationConfig
    stages: StagesConfig
    seed: int
    """of the run"""
    device: str
    teacher: Teacher | None
    """whose soft labels the classifiers learn; None: hard labels"""


def evaluation_units(evaluation: Evaluation, run: Run) -> list[Unit]:
    return [
        Unit(f"{run.root.name}: {cell.name}", function, (evaluation, run, cell, done), done)
        for cell in cells_of(evaluation.config, evaluation.stages)
        for done in [run.cell(cell.name)]
        for function in [accuracy_cell if cell.kind == "accuracy" else redundancy_cell]
    ]


def accuracy_cell(evaluation: Evaluation, run: Run, cell: Cell, done: Path) -> None:
    """Measure the accuracy on real images after training on increments 1 to `cell.increment`."""
    test, folders = evaluation_images(evaluation), run.increments(cell.increment)
    train = read_union(folders, test.class_names)
    teacher = teacher_for(evaluation, run, train, folders)
    write_json(done, train_and_test(evaluation, train, test, cell.architecture, cell.seed, teacher)[1])


def redundancy_cell(evaluation: Evaluation, run: Run, cell: Cell, done: Path) -> None:
    """Measure the accuracy on every increment after training on one of them alone."""
    folders = run.increments(evaluation.stages.increments)
    names = cached_splits(evaluation.dataset).train.class_names
    parts = [read_increment(folder, names) for folder in folders]
    train = parts[cell.increment - 1]
    teacher = teacher_for(evaluation, run, train, [run.increment(cell.increment)])
    classifier, _ = train_and_test(evaluation, train, None, cell.architecture, cell.seed, teacher)
    write_json(done, {"accuracy": [accuracy(classifier, part) for part in parts]})


def evaluation_images(evaluation: Evaluation) -> ImageSet:
    """Return the test images as the protocol resizes them. Errors: as `cached_splits`."""
    test = cached_splits(evaluation.dataset).test
    side, resize = min(test.shape[1:]), protocol_named(evaluation.config.protocol).resize
    wanted = resize(side) if resize else side
    return test if wanted == side else cached_test(evaluation.dataset, wanted)


def teacher_for(
    evaluation: Evaluation, run: Run, train: ImageSet, folders: Sequence[Path]
) -> Classifier | Tensor | None:
    """Return what labels the increments in `folders`: nothing, a classifier, or logits stored beside the images."""
    if evaluation.teacher is None:
        return None
    if evaluation.config.teacher.stored:
        files = [row.file for folder in folders for row in read_manifest(folder)]
        return stored_soft_labels(run.dataset / FILE, files, train.class_names)
    return load_teacher(evaluation.teacher, train, evaluation.device)


def train_and_test(
    evaluation: Evaluation,
    train: ImageSet,
    test: ImageSet | None,
    architecture: str,
    seed: int,
    teacher: Classifier | Tensor | None = None,
) -> tuple[Classifier, dict[str, Any]]:
    """Train the fresh classifier number `seed` by the configured protocol; return it and what it reached on `test`.

    The same number means the same weights, order and augmentation for every method. The result names the accuracy
    after the last epoch (`accuracy`) and the best of evenly spaced evaluations (`best`), both in percent; the latter is
    picked on the test set and flatters. `confusion` counts the last epoch's answers, for few classes.
    """
    config, classes = evaluation.config, len(train.class_names)
    confusion: dict[str, list[list[int]]] = {}
    network = network_for(config, architecture, -(-len(train) // classes), train.shape, classes)
    epochs = network.training.epochs
    found: list[float] = []

    def watch(epoch: int, classifier: Classifier) -> None:
        if test is not None and is_evaluated(epoch, epochs, config.evaluations):
            found.append(accuracy(classifier.eval(), test))
            if epoch == epochs and classes <= MOST_CLASSES:
                confusion["confusion"] = confusion_counts(classifier, test)
            classifier.train()

    derived = derive_seed(evaluation.seed, "evaluation", config.classifier.seed, seed)
    with naming(f"evaluation {seed}"):
        classifier = train_classifier(train, network, derived, evaluation.device, teacher, watch)
    if test is None:
        return classifier, {}
    reached = {"accuracy": found[-1], "best": max(found), "evaluations": len(found), "epochs": epochs}
    return classifier, {**reached, **confusion}


def confusion_counts(classifier: Classifier, test: ImageSet) -> list[list[int]]:
    """Count the images of each class (rows) by the class that the classifier names (columns)."""
    classes = len(test.class_names)
    pairs = test.labels * classes + predict(classifier, test).argmax(1)
    counts: list[list[int]] = pairs.bincount(minlength=classes**2).view(classes, classes).tolist()
    return counts


def is_evaluated(epoch: int, epochs: int, evaluations: int) -> bool:
    """Return whether an epoch, from 1, is one of `evaluations` evenly spaced ones; the last epoch always is."""
    return epoch * evaluations // epochs > (epoch - 1) * evaluations // epochs


def folder_units(evaluation: Evaluation, train: ImageSet, seeds: int, cells: Path, stored: Tensor | None) -> list[Unit]:
    """Return the units of a set that is no run, whose logits may be `stored`; they write `folder_done`."""
    return [
        Unit(f"{architecture}, seed {seed}", folder_cell, (evaluation, train, architecture, seed, done, stored), done)
        for architecture in evaluators(evaluation.config)
        for seed in range(seeds)
        for done in [folder_done(cells, architecture, seed)]
    ]


def folder_done(cells: Path, architecture: str, seed: int) -> Path:
    return cells / f"{safe_name(architecture)}-{seed}.json"


def folder_cell(
    evaluation: Evaluation, train: ImageSet, architecture: str, seed: int, done: Path, stored: Tensor | None
) -> None:
    """Measure the accuracy on real images after training on all of `train`, and whether its labels are permuted."""
    teacher: Classifier | Tensor | None = stored
    if evaluation.teacher is not None and stored is None:
        teacher = load_teacher(evaluation.teacher, train, evaluation.device)
    test = evaluation_images(evaluation)
    classifier, measured = train_and_test(evaluation, train, test, architecture, seed, teacher)
    found = permutation_of(test.labels, predict(classifier, test).argmax(1), len(test.class_names))
    write_json(done, {**measured, "permutation": found and asdict(found)})
