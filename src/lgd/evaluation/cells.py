"""Judging as independent cells of work: kind x architecture x increment (IPC) x seed, one JSON file each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from lgd.classifiers.architectures import Classifier
from lgd.classifiers.train import accuracy, train_classifier
from lgd.config import Config, EvaluationConfig
from lgd.data.imageset import ImageSet, concatenate
from lgd.data.splits import cached_judging, cached_splits
from lgd.distillation.store import Run, read_increment, read_manifest
from lgd.execution.hardware import resolve_device
from lgd.execution.units import Unit
from lgd.rng import derive_seed
from lgd.storage.files import safe_name, write_json

from .protocols import network_for, protocol_named
from .soft_labels import FILE, load_teacher, needs_teacher, stored_soft_labels


def evaluators(config: EvaluationConfig) -> tuple[str, ...]:
    """Architectures that judge; the first gives the headline."""
    return config.architectures or (config.classifier.architecture,)


def accuracy_kind(architecture: str) -> str:
    """The name of an architecture's accuracy cells in a run directory."""
    return f"accuracy-{safe_name(architecture)}"


def evaluated_increments(config: Config) -> list[int]:
    """Increments, from 1, after which the set is judged: those that make one of `evaluation.ipc`, and the last."""
    stages, ipcs = config.stages, config.evaluation.ipc
    every = range(1, stages.increments + 1)
    return [i for i in every if not ipcs or i * stages.images_per_increment in ipcs or i == stages.increments]


def evaluation_units(config: Config, run: Run, assets: Path) -> list[Unit]:
    """For each seed: accuracy after each judged increment by each architecture, and each row of the redundancy matrix.

    assets: where the reference lies, the default teacher of soft labels.
    """
    increments = reversed(evaluated_increments(config))  # the longest first: workers finish together
    units = []
    for i in increments:
        for architecture in evaluators(config.evaluation):
            for seed in range(config.evaluation.seeds):
                done = run.cell(accuracy_kind(architecture), i, seed)
                arguments = (config, run, assets, architecture, i, seed)
                units.append(Unit(f"{run.root.name}: {done.stem}", accuracy_cell, arguments, done))
    for i in range(1, config.stages.increments + 1):
        for seed in range(config.evaluation.redundancy_seeds):
            done = run.cell("redundancy", i, seed)
            units.append(Unit(f"{run.root.name}: {done.stem}", redundancy_cell, (config, run, assets, i, seed), done))
    return units


def accuracy_cell(config: Config, run: Run, assets: Path, architecture: str, increment: int, seed: int) -> None:
    """Accuracy on the real judging set after training on increments 1 to `increment`."""
    parts = read_parts(config, run, range(1, increment + 1))
    teacher = teacher_of(config, run, assets, parts, range(1, increment + 1))
    result = judged(concatenate(parts), judging_images(config), config, architecture, seed, teacher)[1]
    write_json(run.cell(accuracy_kind(architecture), increment, seed), result)


def redundancy_cell(config: Config, run: Run, assets: Path, increment: int, seed: int) -> None:
    """Accuracy on every increment after training on one of them alone, by the headline's architecture."""
    parts = read_parts(config, run, range(1, config.stages.increments + 1))
    own = parts[increment - 1]
    teacher = teacher_of(config, run, assets, [own], range(increment, increment + 1))
    classifier, _ = judged(own, None, config, evaluators(config.evaluation)[0], seed, teacher)
    write_json(run.cell("redundancy", increment, seed), {"accuracy": [accuracy(classifier, part) for part in parts]})


def read_parts(config: Config, run: Run, increments: range) -> list[ImageSet]:
    names = cached_splits(config.dataset).train.class_names
    return [read_increment(run.increment(i), names) for i in increments]


def judging_images(config: Config) -> ImageSet:
    """Return the judging set as the protocol resizes it."""
    test = cached_splits(config.dataset).test
    side, resize = min(test.shape[1:]), protocol_named(config.evaluation.protocol).resize
    wanted = resize(side) if resize else side
    return test if wanted == side else cached_judging(config.dataset, wanted)


def teacher_of(
    config: Config, run: Run, assets: Path, parts: list[ImageSet], increments: range
) -> Classifier | Tensor | None:
    """What labels these increments of a run: nothing, a classifier, or the logits stored beside the images."""
    if not needs_teacher(config):
        return None
    if config.evaluation.teacher.stored:
        files = [row.file for i in increments for row in read_manifest(run.increment(i))]
        return stored_soft_labels(run.dataset / FILE, files, parts[0].class_names)
    device = resolve_device(config.compute.device)
    return load_teacher(config, assets / "reference.safetensors", parts[0], device)


def judged(
    train: ImageSet,
    test: ImageSet | None,
    config: Config,
    architecture: str,
    seed: int,
    teacher: Classifier | Tensor | None = None,
) -> tuple[Classifier, dict[str, Any]]:
    """Train the fresh classifier number `seed` by the configured protocol; the classifier and what it reached.

    The same number means the same weights, order and augmentation for every method. The result names the accuracy
    after the last epoch (`accuracy`) and the best of evenly spaced evaluations (`best`), both in percent; the latter is
    picked on the test set and flatters.
    """
    evaluation = config.evaluation
    classes = len(train.class_names)
    network = network_for(evaluation, architecture, -(-len(train) // classes), train.shape, classes)
    epochs = network.training.epochs
    found: list[float] = []

    def watch(epoch: int, classifier: Classifier) -> None:
        if test is not None and is_evaluated(epoch, epochs, evaluation.evaluations):
            found.append(accuracy(classifier.eval(), test))
            classifier.train()

    derived = derive_seed(config.seed, "evaluation", evaluation.classifier.seed, seed)
    device = resolve_device(config.compute.device)
    classifier = train_classifier(train, network, derived, f"evaluation {seed}", device, teacher, watch)
    if test is None:
        return classifier, {}
    return classifier, {"accuracy": found[-1], "best": max(found), "evaluations": len(found), "epochs": epochs}


def is_evaluated(epoch: int, epochs: int, evaluations: int) -> bool:
    """Whether epoch 1, 2, ... is one of so many evenly spaced ones, of which the last epoch always is one."""
    return epoch * evaluations // epochs > (epoch - 1) * evaluations // epochs


def folder_units(train: ImageSet, config: Config, seeds: int, cells: Path, teacher: Tensor | None) -> list[Unit]:
    """One unit per architecture and seed for a set that is no run of ours; each writes `cells`/ARCHITECTURE-SEED.json.

    teacher: stored logits of the images, if there are any.
    """
    return [
        Unit(f"{architecture}, seed {seed}", folder_cell, (config, train, architecture, seed, done, teacher), done)
        for architecture in evaluators(config.evaluation)
        for seed in range(seeds)
        for done in [folder_done(cells, architecture, seed)]
    ]


def folder_done(cells: Path, architecture: str, seed: int) -> Path:
    return cells / f"{safe_name(architecture)}-{seed}.json"


def folder_cell(
    config: Config, train: ImageSet, architecture: str, seed: int, done: Path, stored: Tensor | None
) -> None:
    """Accuracy on the real judging set after training on all of `train`."""
    teacher: Classifier | Tensor | None = stored
    if needs_teacher(config) and stored is None:
        teacher = load_teacher(config, None, train, resolve_device(config.compute.device))
    write_json(done, judged(train, judging_images(config), config, architecture, seed, teacher)[1])
