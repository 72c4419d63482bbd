"""The loop: seed set -> learner -> candidates -> selection -> increment. The only file that knows this order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lgd.classifiers.train import save_classifier, train_classifier
from lgd.config import Config
from lgd.data.imageset import to_float
from lgd.data.splits import cached_splits
from lgd.execution.hardware import resolve_device
from lgd.execution.receipts import receipt_of
from lgd.execution.units import Engine, Unit
from lgd.rng import derive_seed

from .methods import Method, method_named, seed_config
from .resources import Resources
from .store import Run, SelectedImage, finish_increment, read_increment, read_union, write_dataset, write_group


def grow(
    config: Config, run: Run, assets: Path, engine: Engine, grown: Callable[[int], object] = lambda increment: None
) -> list[Path]:
    """Make all increments that are not there yet, and the union of them; returns corrupt files of the union, now right.

    grown: told of every increment that was not there. Of finished increments the engine makes anew what was damaged.
    Errors: UserError naming a file that is corrupt and has no receipt to make it anew by.
    """
    names = cached_splits(config.dataset).train.class_names
    last = config.stages.increments
    for increment in range(1, last + 1):
        folder = run.increment(increment)
        finished = (folder / "done").exists()

        def due(units: list[Unit], finished: bool = finished) -> list[Unit]:
            return [unit for unit in units if not finished or receipt_of(unit.done).exists()]

        if method_of(config, increment).needs_learner:
            what = f"{run.root.name}: increment {increment}, learner"
            engine.run(due(learner_units(config, run, increment)), what)
        units = sampling_units(config, run, assets, increment, len(names))
        engine.run(due(units), f"{run.root.name}: increment {increment}, images")
        if due(units):
            finish_increment(folder)
        if finished:
            read_increment(folder, names)
        else:
            grown(increment)
    return write_dataset(run, last)


def method_of(config: Config, increment: int) -> Method:
    """The method that draws this increment."""
    return method_named(config.method if increment > 1 else seed_method(config))


def seed_method(config: Config) -> str:
    """What draws the first increment: a method that needs a learner cannot, for there is nothing to learn from."""
    return config.stages.seed_method if method_named(config.method).needs_learner else config.method


def config_of(config: Config, increment: int) -> Config:
    """What the method of this increment works with."""
    return config if increment > 1 or seed_method(config) == config.method else seed_config(config)


def learner_units(config: Config, run: Run, increment: int) -> list[Unit]:
    """The learners of one increment, trained from scratch on everything before it."""
    units = []
    for member in range(config.stages.learners):
        done = run.learner(increment, member)
        arguments, shards = (config, run, increment, member), config.learner.training.shards
        units.append(Unit(f"learner {increment}.{member}", train_learner, arguments, done, shards))
    return units


def train_learner(config: Config, run: Run, increment: int, member: int) -> None:
    train = read_union(run, increment - 1, cached_splits(config.dataset).train.class_names)
    seed = derive_seed(config.seed, "learner", config.learner.seed, increment, member)
    device = resolve_device(config.compute.device)
    learner = train_classifier(train, config.learner, seed, f"learner of increment {increment}", device)
    save_classifier(learner, run.learner(increment, member), config.learner, train)


def sampling_units(config: Config, run: Run, assets: Path, increment: int, classes: int) -> list[Unit]:
    """The groups of classes of one increment. The grouping is the configuration's, never the number of workers'."""
    size = config.stages.classes_per_unit
    units = []
    for group, first in enumerate(range(0, classes, size)):
        labels = range(first, min(first + size, classes))
        done = run.group(increment, group)
        arguments = (config, run, assets, increment, labels, group)
        units.append(Unit(f"increment {increment}, group {group}", sample_group, arguments, done))
    return units


def sample_group(config: Config, run: Run, assets: Path, increment: int, classes: range, group: int) -> None:
    resources = Resources(config_of(config, increment), run, assets, increment, classes)
    drawn = method_of(config, increment).draw(resources)
    if method_named(config.method).needs_generator:
        drawn = [remembered(item, resources) for item in drawn]
    names = cached_splits(config.dataset).train.class_names
    write_group(run.group(increment, group), drawn, names, increment)


def remembered(item: SelectedImage, resources: Resources) -> SelectedImage:
    """With a latent, which later increments keep away from; a seed set of real images comes without."""
    if item.latent is not None:
        return item
    image = to_float(item.image)[None].to(resources.device)
    return replace(item, latent=resources.generator.autoencoder.encode(image)[0].cpu())
