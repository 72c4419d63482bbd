"""What a run draws with: generator, reference and surrogate, trained once into a directory that says from what."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from .classifiers.train import save_classifier, train_classifier
from .config import Config, differences, to_dict, with_defaults
from .console import Console
from .data.imageset import ImageSet
from .diffusion.folder import fingerprint, open_generator
from .distillation.materials import cached_splits, resolve_device
from .distillation.methods import method_named
from .distillation.stages import seed_method
from .distillation.surrogate import train_surrogate
from .errors import UserError
from .files import read_json, write_json
from .generators import make_generator
from .report import events
from .rng import derive_seed
from .runtime import environment, training_threads


def claim(path: Path, config: dict[str, Any]) -> None:
    """Write the configuration, or make sure that it is the one written here before.

    Errors: UserError naming the fields that differ.
    """
    if path.exists():
        changed = differences(with_defaults(read_json(path), config), config)
        if changed:
            raise UserError(
                f"{path.parent} was made with another configuration: {'; '.join(changed)}."
                " Choose another --out, or --overwrite to start anew"
            )
    else:
        write_json(path, config)
        write_json(path.with_name("environment.json"), environment())


@contextmanager
def timed(folder: Path, phase: str) -> Iterator[None]:
    """Add the block's wall time to `seconds.json`, also when it ends in an error; a killed process is not counted."""
    path = folder / "seconds.json"
    start = time.monotonic()
    try:
        with events.phase(folder, phase):
            yield
    finally:
        seconds = read_json(path) if path.exists() else {}
        seconds[phase] = round(seconds.get(phase, 0.0) + time.monotonic() - start, 2)
        write_json(path, seconds)


def prepare(config: Config, assets: Path, methods: Sequence[str], console: Console) -> None:
    """Train the generator and the reference into `assets`, unless they are there.

    Errors: UserError when they were trained with another configuration.
    """
    assets.mkdir(parents=True, exist_ok=True)
    made_from = {name: to_dict(config)[name] for name in ("dataset", "generator", "reference")}
    claim(assets / "assets.json", made_from)
    splits = cached_splits(config.dataset)
    device = resolve_device(config.compute.device)
    drawing = [*methods, *(seed_method(replace(config, method=m)) for m in methods)]
    needs = any(method_named(m).needs_generator for m in drawing)
    with timed(assets, "generator"), training_threads(config.generator.threads):
        if needs and config.generator.source and config.generator.tune == "none":
            check_source(config, splits.train, assets / "generator")
        elif needs:
            make_generator(config, splits.train, assets / "generator", console)
    path = assets / "reference.safetensors"
    with timed(assets, "reference"), training_threads(config.generator.threads):
        if not path.exists():
            with console.bar(1, "reference") as advance:
                seed = derive_seed("reference", config.reference.seed)
                reference = train_classifier(splits.train, config.reference, seed, "reference", device)
                save_classifier(reference, path, config.reference, splits.train)
                advance()
    if any(method_named(m).needs_surrogate for m in drawing):
        prepare_surrogate(config, assets / "surrogate", splits.train, console)


def check_source(config: Config, train: ImageSet, folder: Path) -> None:
    """Load the generator that was made elsewhere once, and record the digests of its files in `folder`.

    Errors: UserError for a part that is missing or corrupt or does not fit, or a file that has changed since.
    """
    source, path = config.generator.source, folder / "source.json"
    files = fingerprint(source)
    if path.exists():
        before = read_json(path)["files"]
        changed = sorted(name for name in before.keys() | files.keys() if before.get(name) != files.get(name))
        if changed:
            raise UserError(f"{source}: {changed[0]} is not the file that {path.parent.parent} was begun with")
    else:
        open_generator(config.generator, folder, train.class_names, train.shape)
        write_json(path, {"source": source, "files": files})


def prepare_surrogate(config: Config, folder: Path, train: ImageSet, console: Console) -> None:
    """Train the surrogate of influence guidance into `folder`, unless it is there.

    Errors: UserError when it was trained with another configuration.
    """
    wanted = config.influence.surrogate
    claim(folder / "config.json", to_dict(config)["influence"]["surrogate"])
    with timed(folder.parent, "surrogate"), training_threads(config.generator.threads):
        if not (folder / "checkpoints.json").exists():
            with console.bar(wanted.classifier.training.epochs, "surrogate") as advance:
                train_surrogate(folder, wanted, train, resolve_device(config.compute.device), advance)
