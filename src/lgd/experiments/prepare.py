"""Make assets once per assets directory: generator, reference, judge, and a method's own; or the reference alone."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lgd.classifiers.train import accuracy
from lgd.config import Config, GeneratorConfig, to_dict
from lgd.data.imageset import ImageSet, Splits
from lgd.data.splits import cached_splits
from lgd.diffusion.folder import open_generator, pin_source
from lgd.diffusion.train_generator import GeneratorTraining, make_generator
from lgd.distillation.judge import load_reference
from lgd.distillation.layout import Run
from lgd.distillation.methods import Asset, Method
from lgd.distillation.recipe import Assets
from lgd.errors import UserError, naming
from lgd.execution.engines import engine_for
from lgd.execution.hardware import cpu_threads
from lgd.execution.receipts import write_receipt
from lgd.execution.units import Engine, unfinished
from lgd.progress import log, progress_bar
from lgd.storage.files import read_json, write_json
from lgd.storage.object_store import workspace

from .reference import classifier_unit, feature_maps_of, guessing_warning
from .resolve import has_reference, resolve
from .run_directory import claim, timed

Settle = Callable[[str, float], Assets]
"""Takes the name of an asset that is about to be made, and the seconds of a generator's step where they are known;
returns the settings of the assets, in which those of this one are final."""
MADE_FROM = ("dataset", "generator", "reference", "judge")
"""sections of the configuration that the assets depend on"""


def record_parts(run: Run, assets: Assets, methods: Sequence[Method], evaluated: bool = True) -> None:
    """Write which assets a run of these methods waits for, each by the file written last, and whether it is evaluated.

    The assets are those that `prepare` makes, in its order; paths are relative to the run. Without an evaluation there
    is no judge, and a reference only for a method that uses it.
    """
    networks = {"reference": assets.reference_file, "judge": assets.judge_file} if evaluated else {}
    if any(method.needs_reference for method in methods):
        networks.setdefault("reference", assets.reference_file)
    own = {asset.name: assets.root / asset.name / asset.done for method in methods for asset in method.assets}
    made = "done" if trains_generator(assets, methods) else "source.json"
    sampled = any(method.needs_generator for method in methods)
    files = {**networks, **own, **({"generator": assets.generator_folder / made} if sampled else {})}
    paths = {name: Path(os.path.relpath(file, run.root)).as_posix() for name, file in files.items()}
    write_json(run.parts, {"assets": paths, "evaluated": evaluated})


def trains_generator(assets: Assets, methods: Sequence[Method]) -> bool:
    """Return whether the methods sample from a generator that is trained or tuned here."""
    own = assets.generator
    return any(method.needs_generator for method in methods) and (not own.source or own.tune != "none")


def prepare(
    assets: Assets,
    methods: Sequence[Method],
    engine: Engine,
    judged: bool = True,
    settle: Settle | None = None,
) -> None:
    """Make the assets that the methods need, unless they are there and undamaged.

    methods: of the runs and of their seed sets. judged: whether a judge is needed beside the reference. They are
    trained beside the others where there are cores for it, and their seconds are then part of those; else before them,
    as is a reference that the generator is aligned with.
    settle: called before each asset (budget.py). Errors: UserError for assets made with another configuration.
    """
    root, own = assets.root, assets.generator
    root.mkdir(parents=True, exist_ok=True)
    claim(root / "assets.json", {name: to_dict(getattr(assets, name)) for name in MADE_FROM})
    splits = cached_splits(assets.dataset)
    check_images(root, splits)
    needs_generator = any(method.needs_generator for method in methods)
    trains = trains_generator(assets, methods)
    if needs_generator:
        assets.generator_folder.mkdir(exist_ok=True)
    extra = list(dict.fromkeys(asset for method in methods for asset in method.assets))
    fresh, beside = False, []
    for name in ("reference", "judge")[: 1 + judged]:
        assets = settle(name, 0.0) if settle else assets
        unit = classifier_unit(assets, name)
        fresh |= not unit.done.exists()
        waited_for = name == "reference" and (assets.reference.weights or (trains and own.align))
        if (extra or trains) and not waited_for and engine.has_room(own.threads):
            beside.append(unit)
        else:
            prepare_classifier(assets, name, engine)
    with engine.beside(beside, "reference and judge", own.threads):
        for asset in extra:
            prepare_asset(asset, assets, splits.train)
        with timed(root, "generator"), cpu_threads(own.threads):
            if trains:
                maps = feature_maps_of(assets, splits.train) if own.align else None
                training = GeneratorTraining(own, assets.dataset, splits.train, assets.device, maps)
                settled = (lambda step: settle("generator", step).generator) if settle else None
                make_generator(training, assets.generator_folder, settle=settled)
            elif needs_generator:
                check_source(own, splits.train, assets.generator_folder)
    for unit in beside:
        prepare_classifier(assets, unit.name, engine)
    if fresh and (warning := guessing_warning(assets, judged)):
        log.warning(warning)


def check_images(root: Path, splits: Splits) -> None:
    """Record which images the assets are made from, or compare them with those recorded. Errors: UserError."""
    path = root / "images.json"
    now = {
        name: {"images": len(part), "sample": part.digest()}
        for name, part in (("train", splits.train), ("test", splits.test))
    }
    if not path.exists():
        write_json(path, now)
    before = read_json(path)
    for name in now:
        if before.get(name) != now[name]:
            then = before.get(name, {}).get("images")
            raise UserError(
                f"{root} was begun with other {name} images ({then} then, {now[name]['images']} now); put those back,"
                " or --overwrite to start anew"
            )


def prepare_classifier(assets: Assets, name: str, engine: Engine) -> None:
    """Train the reference or the judge, or copy the user's own reference, unless it is there, undamaged.

    This process trains it, and shows its progress, unless the engine has other machines. Errors: UserError for weights
    that do not fit.
    """
    unit = classifier_unit(assets, name)
    with timed(assets.root, name):
        if engine.distributed:
            engine.run([unit], name)
        elif unfinished([unit], assets.root):
            with progress_bar(getattr(assets, name).training.epochs, name) as advance:
                unit.function(*unit.arguments, advance)
            write_receipt(unit.done, [unit.done])


def check_source(config: GeneratorConfig, train: ImageSet, folder: Path) -> None:
    """Load a generator that was made elsewhere once, and record the digests of its files in `folder`.

    Errors: UserError for a part that is missing or corrupt or does not fit, or a file that has changed since.
    """
    path = folder / "source.json"
    if not path.exists():
        open_generator(config, folder, train.class_names, train.shape)
    pin_source(config, path, folder.parent)


def prepare_asset(asset: Asset, assets: Assets, train: ImageSet) -> None:
    """Make an asset of a method's own, unless it is there. Errors: UserError when it was made from other settings."""
    folder = assets.root / asset.name
    claim(folder / "config.json", to_dict(asset.made_from(assets)))
    with timed(assets.root, asset.name), cpu_threads(assets.generator.threads):
        if not (folder / asset.done).exists():
            with progress_bar(asset.classifier(assets).training.epochs, asset.name) as advance, naming(asset.name):
                asset.make(assets, folder, train, advance)


def train_reference(config: Config | str, out: str | Path, overwrite: bool = False) -> dict[str, Any]:
    """Train the reference into `out`, unless it is there; return its accuracy in percent. Errors: as `distill`."""
    experiment = resolve(config, methods=(), checks=[has_reference])
    with workspace(out, overwrite) as root, engine_for(experiment.config.compute, root) as engine:
        claim(root / "config.json", experiment.record("dataset", "reference"))
        assets = experiment.assets(root)
        prepare_classifier(assets, "reference", engine)
        test = experiment.splits.test
        metrics = {"accuracy": accuracy(load_reference(assets), test), "images": len(test)}
        write_json(root / "metrics.json", {**metrics, "seconds": read_json(root / "seconds.json")})
    return metrics
