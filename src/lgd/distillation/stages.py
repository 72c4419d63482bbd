"""The loop: seed set -> learner -> candidates -> selection -> increment. The only file that knows this order."""

from collections.abc import Callable, Sequence
from pathlib import Path

from lgd.classifiers.train import train_and_save
from lgd.config import ClassifierConfig
from lgd.errors import naming
from lgd.execution.receipts import receipt_of
from lgd.execution.units import Engine, Unit, unfinished
from lgd.progress import log
from lgd.rng import derive_seed

from .calibration import calibration_units, finish_calibration
from .fresh import fresh_units
from .layout import class_groups
from .methods import method_named, real_image_units
from .methods.sampling import with_latent
from .recipe import Growth
from .resources import Resources
from .store import finish_increment, read_increment, read_union, write_dataset, write_group


def grow(growth: Growth, engine: Engine, grown: Callable[[int], object] = lambda increment: None) -> list[Path]:
    """Make the missing increments of the schedule, and their union; returns corrupt files of the union, now mended.

    grown: called with the number of each increment that was missing. The engine makes damaged files of finished
    increments again. Errors: UserError naming a file that is corrupt and has no receipt to make it again by.
    """
    run, most = growth.run, growth.later.stages.increments
    measured = unfinished(real_image_units(growth), growth.assets.root)
    if measured:
        engine.run(measured, f"{run.root.name}: real images")
    for increment in range(1, most + 1):
        folder = run.increment(increment)
        finished = (folder / "done").exists()

        def work(units: list[Unit], what: str, increment: int = increment, finished: bool = finished) -> bool:
            due = [unit for unit in units if not finished or receipt_of(unit.done).exists()]
            engine.run(due, f"{run.root.name}: increment {increment}, {what}")
            return bool(due)

        work(learner_units(growth, increment), "learner")
        if work(calibration_units(growth, increment), "calibration"):
            finish_calibration(growth, increment)
        work(fresh_units(growth, increment), "fresh candidates")
        if run.last_increment(most) < increment:
            log.info(f"{run.fresh(increment)}: the learner keeps up with the reference; no more increments are made")
            break
        if work(sampling_units(growth, increment), "images"):
            finish_increment(folder)
        if finished:
            read_increment(folder, growth.class_names)
        else:
            grown(increment)
    return write_dataset(run, run.last_increment(most))


def learner_units(growth: Growth, increment: int) -> list[Unit]:
    """Return the units that train an increment's learners from scratch on all images before it."""
    if not method_named(growth.recipe(increment).method).needs_learner:
        return []
    units = []
    earlier, device = growth.run.increments(increment - 1), growth.assets.device
    for member, done in enumerate(growth.learner_files(increment)):
        seed = derive_seed(growth.later.seed, "learner", growth.learner.seed, increment, member)
        arguments = (growth.learner, seed, earlier, growth.class_names, device, done)
        shards = growth.learner.training.shards
        units.append(Unit(f"learner {increment}.{member}", train_learner, arguments, done, shards))
    return units


def train_learner(
    learner: ClassifierConfig, seed: int, earlier: Sequence[Path], class_names: Sequence[str], device: str, done: Path
) -> None:
    """Train a classifier on the increments in the folders `earlier` and save it as `done`."""
    train = read_union(earlier, class_names)
    with naming(f"learner of increment {len(earlier) + 1}"):
        train_and_save(done, learner, train, seed, device)


def sampling_units(growth: Growth, increment: int) -> list[Unit]:
    groups = class_groups(len(growth.class_names), growth.recipe(increment).stages.classes_per_unit)
    return [
        Unit(f"increment {increment}, group {group}", sample_group, (growth, increment, labels, done), done)
        for group, labels in enumerate(groups)
        for done in [growth.run.group(increment, group)]
    ]


def sample_group(growth: Growth, increment: int, classes: range, done: Path) -> None:
    """Make the images of some classes of one increment and write them, their rows lastly as `done`."""
    resources = Resources(growth, increment, classes)
    selected = method_named(resources.config.method).sample(resources)
    if method_named(growth.later.method).needs_generator:
        selected = [with_latent(image, resources) for image in selected]
    write_group(done, selected, growth.class_order, increment)
