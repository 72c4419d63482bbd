"""What a run draws with: generator, reference and surrogate, trained once into a directory that says from what."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from .classifiers.train import save_classifier, train_classifier
from .config import Config, differences, to_dict
from .console import Console
from .data.imageset import ImageSet
from .diffusion.generator import save_generator
from .diffusion.train import train_generator
from .distillation.materials import cached_splits, resolve_device
from .distillation.methods import method_named
from .distillation.stages import seed_method
from .distillation.surrogate import train_surrogate
from .errors import UserError
from .execution.receipts import write_receipt
from .execution.units import Engine, Unit, unfinished
from .files import read_json, write_json, write_text
from .report import events
from .rng import derive_seed
from .runtime import environment, training_threads


def claim(path: Path, config: dict[str, Any]) -> None:
    """Write the configuration, or make sure that it is the one written here before.

    Errors: UserError naming the fields that differ.
    """
    if path.exists():
        there = read_json(path)
        if not isinstance(there, dict):
            raise UserError(f"{path}: corrupt, not a configuration")
        changed = differences(there, config)
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


def prepare(config: Config, assets: Path, methods: Sequence[str], engine: Engine, console: Console) -> None:
    """Train the generator and the reference into `assets`, unless they are there and undamaged.

    Errors: UserError when they were trained with another configuration.
    """
    assets.mkdir(parents=True, exist_ok=True)
    made_from = {name: to_dict(config)[name] for name in ("dataset", "generator", "reference")}
    claim(assets / "assets.json", made_from)
    splits = cached_splits(config.dataset)
    device = resolve_device(config.compute.device)
    drawing = [*methods, *(seed_method(replace(config, method=m)) for m in methods)]
    needs = any(method_named(m).needs_generator for m in drawing)
    done = assets / "generator" / "done"
    with timed(assets, "generator"), training_threads(config.generator.threads):
        if needs and unfinished([Unit("generator", save_generator, (), done)], assets, console.say):
            with console.bar(config.generator.steps, "generator") as advance:
                for _, loss, generator in train_generator(splits.train, config.generator, device):
                    if generator is None:
                        advance(f"loss {loss:.4f}")
                    else:
                        save_generator(generator, done.parent)
            write_text(done, "")
            write_receipt(done, [path for path in done.parent.rglob("[!.]*") if path.is_file()])
    with timed(assets, "reference"):
        shards = config.reference.training.shards
        engine.run([Unit("reference", train_reference, (config, assets), reference_path(assets), shards)], "reference")
    if any(method_named(m).needs_surrogate for m in drawing):
        prepare_surrogate(config, assets / "surrogate", splits.train, console)


def reference_path(assets: Path) -> Path:
    return assets / "reference.safetensors"


def train_reference(config: Config, assets: Path) -> None:
    train, device = cached_splits(config.dataset).train, resolve_device(config.compute.device)
    seed = derive_seed("reference", config.reference.seed)
    with training_threads(config.generator.threads):
        reference = train_classifier(train, config.reference, seed, "reference", device)
    save_classifier(reference, reference_path(assets), config.reference, train)


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
