"""What a run draws with: generator, reference and surrogate, trained once into a directory that says from what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from lgd.classifiers.architectures import Classifier
from lgd.classifiers.train import accuracy, load_foreign_classifier, save_classifier, train_classifier
from lgd.config import Config, to_dict
from lgd.data.imageset import ImageSet, Splits
from lgd.data.splits import cached_splits
from lgd.diffusion.folder import open_generator, pin_source
from lgd.diffusion.train_generator import make_generator
from lgd.distillation.methods import method_named
from lgd.distillation.stages import seed_method
from lgd.distillation.surrogate import surrogate_images, train_surrogate
from lgd.errors import UserError
from lgd.execution.hardware import cpu_threads, resolve_device
from lgd.execution.receipts import write_receipt
from lgd.execution.units import Engine, Unit, unfinished
from lgd.experiments.run_directory import claim, timed
from lgd.progress import progress_bar
from lgd.rng import derive_seed
from lgd.storage.files import read_json, write_json


def prepare(config: Config, assets: Path, methods: Sequence[str], engine: Engine) -> None:
    """Train the generator and the reference into `assets`, unless they are there and undamaged.

    The reference is trained beside the others where there are cores for it; its seconds are then part of theirs.
    Errors: UserError when they were trained with another configuration.
    """
    assets.mkdir(parents=True, exist_ok=True)
    made_from = {name: to_dict(config)[name] for name in ("dataset", "generator", "reference")}
    claim(assets / "assets.json", made_from)
    splits = cached_splits(config.dataset)
    check_images(assets, splits)
    drawing = [*methods, *(seed_method(replace(config, method=m)) for m in methods)]
    needs = any(method_named(m).needs_generator for m in drawing)
    given = config.generator.source and config.generator.tune == "none"
    influence = any(method_named(m).needs_surrogate for m in drawing)
    trains = influence or (needs and not given)
    own = [reference_unit(config, assets)] if trains and not config.reference.weights else []
    with engine.beside(own, "reference", config.generator.threads):
        with timed(assets, "generator"), cpu_threads(config.generator.threads):
            if needs and given:
                check_source(config, splits.train, assets / "generator")
            elif needs:
                make_generator(config, splits.train, assets / "generator")
        if influence:
            prepare_surrogate(config, assets / "surrogate", surrogate_images(config))
    prepare_reference(config, assets, engine)


def check_images(assets: Path, splits: Splits) -> None:
    """Record what the images are, or make sure that they are those that `assets` was begun with.

    Errors: UserError when there are others, or some have changed.
    """
    path = assets / "images.json"
    now = {name: {"images": len(part), "sample": part.digest()} for name, part in vars(splits).items()}
    if not path.exists():
        write_json(path, now)
    before = read_json(path)
    for name in now:
        if before.get(name) != now[name]:
            then = before.get(name, {}).get("images")
            raise UserError(
                f"{assets} was begun with other {name} images ({then} then, {now[name]['images']} now); put those back,"
                " or --overwrite to start anew"
            )


def prepare_reference(config: Config, assets: Path, engine: Engine) -> None:
    """Train the reference into `assets`/reference.safetensors, or copy the user's own, unless it is there, undamaged.

    Ray trains it; without Ray this process does, and shows its progress. Errors: UserError for weights that do not fit.
    """
    unit = reference_unit(config, assets)
    with timed(assets, "reference"):
        if config.compute.engine == "ray":
            engine.run([unit], "reference")
        elif unfinished([unit], assets):
            with progress_bar(config.reference.training.epochs, "reference") as advance:
                make_reference(config, assets, advance)
            write_receipt(unit.done, [unit.done])


def reference_unit(config: Config, assets: Path) -> Unit:
    path, shards = assets / "reference.safetensors", config.reference.training.shards
    return Unit("reference", make_reference, (config, assets), path, shards)


def make_reference(config: Config, assets: Path, advance: Callable[[], object] = lambda: None) -> None:
    wanted, train = config.reference, cached_splits(config.dataset).train
    device, seed = resolve_device(config.compute.device), derive_seed("reference", wanted.seed)
    with cpu_threads(config.generator.threads):
        if wanted.weights:
            reference = foreign_reference(config, train)
        else:
            reference = train_classifier(train, wanted, seed, "reference", device, watch=lambda *_: advance())
    save_classifier(reference, assets / "reference.safetensors", wanted, train)


def foreign_reference(config: Config, train: ImageSet) -> Classifier:
    """The user's own reference. Errors: UserError when it is of another network, or hardly better than guessing."""
    path, classes = Path(config.reference.weights), len(train.class_names)
    reference = load_foreign_classifier(path, config.reference, train, resolve_device(config.compute.device))
    sample = train.subset(torch.linspace(0, len(train) - 1, min(len(train), 1000)).long())
    found, chance = accuracy(reference, sample), 100 / classes
    if found < chance + (100 - chance) / 10:
        some = ", ".join(train.class_names[:5]) + ", ..." * (classes > 5)
        raise UserError(
            f"{path}: recognises {found:.1f} % of the training images; are its classes {some} in this order, and its"
            " images in [0, 1] normalised as reference.training says?"
        )
    return reference


def check_source(config: Config, train: ImageSet, folder: Path) -> None:
    """Load the generator that was made elsewhere once, and record the digests of its files in `folder`.

    Errors: UserError for a part that is missing or corrupt or does not fit, or a file that has changed since.
    """
    path = folder / "source.json"
    if not path.exists():
        open_generator(config.generator, folder, train.class_names, train.shape)
    pin_source(config.generator, path, folder.parent)


def prepare_surrogate(config: Config, folder: Path, train: ImageSet) -> None:
    """Train the surrogate of influence guidance into `folder`, unless it is there.

    Errors: UserError when it was trained with another configuration.
    """
    wanted = config.influence.surrogate
    claim(folder / "config.json", to_dict(config)["influence"]["surrogate"])
    with timed(folder.parent, "surrogate"), cpu_threads(config.generator.threads):
        if not (folder / "checkpoints.json").exists():
            with progress_bar(wanted.classifier.training.epochs, "surrogate") as advance:
                train_surrogate(folder, wanted, train, resolve_device(config.compute.device), advance)
