"""Train a generator into a folder: encode the images, take the steps, save often enough to go on after an interruption.

GENERATOR/latents/   checkpoint.safetensors   training.jsonl   and lastly what `save_generator` writes   done
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import torch

from .config import Config, GeneratorConfig, to_dict
from .console import Console
from .data.imageset import ImageSet
from .diffusion.autoencoder import Latents, Pixels, open_latents
from .diffusion.checkpoint import load_checkpoint, save_checkpoint
from .diffusion.folder import save_generator
from .diffusion.generator import Generator, check_patch, new_denoiser
from .diffusion.latents import PixelSource, Source, encode_latents
from .diffusion.networks import network_files
from .diffusion.train import Progress, Training, begin, noise_schedule, train
from .distillation.materials import resolve_device
from .errors import UserError
from .execution.receipts import write_receipt
from .execution.units import Unit, unfinished
from .files import discard, read_json_lines, sha256, write_text

CLIP = 5.0
"""predicted clean latents of an autoencoder are clamped to so many standard deviations; pixels to [-1, 1]"""
SAVE_EVERY = 5.0
"""minutes"""
ROW_EVERY = 50
"""steps per row of training.jsonl"""

Row = dict[str, Any]
Watch = Callable[[Generator, list[Row]], object]
"""Called whenever a checkpoint was saved, with the averaged weights and the rows of training.jsonl."""


def check_generator(config: GeneratorConfig, images: ImageSet) -> None:
    """Find out before any work whether a generator can be trained for these images. Errors: UserError."""
    shape = images.shape
    if config.autoencoder:
        shape = open_latents(Path(config.autoencoder), shape, config.image_size).shape
    elif config.image_size:
        raise UserError(
            "generator.image_size: only an autoencoder sees images of another size; name its folder as"
            " generator.autoencoder, or a trained generator as generator.source"
        )
    check_patch(config, shape)


def make_generator(
    config: Config,
    images: ImageSet,
    folder: Path,
    console: Console,
    save_every: float = SAVE_EVERY,
    watch: Watch | None = None,
) -> None:
    """Train the configured generator into `folder`, unless it is there; an interrupted training goes on.

    save_every: minutes between checkpoints. Errors: UserError; NonFiniteError naming the step.
    """
    if not unfinished([Unit("generator", make_generator, (), folder / "done")], folder, console.say):
        return
    device = resolve_device(config.compute.device)
    own = config.generator
    source, autoencoder = learning_source(config, images, folder / "latents", device, console)
    classes = len(images.class_names)
    state = begin(new_denoiser(own, source.shape, classes).to(device), own, len(images))
    checkpoint, log = folder / "checkpoint.safetensors", folder / "training.jsonl"
    rows: list[Row] = []
    if checkpoint.exists():
        load_checkpoint(checkpoint, state)
        rows = [row for row in read_json_lines(log) if row["step"] <= state.step]
        console.say(f"generator: goes on after step {state.step}")
    limit = CLIP if isinstance(autoencoder, Latents) else 1.0
    scheduler = dict(noise_schedule(own, limit).config)
    generator = Generator(state.denoiser, scheduler, autoencoder, images.class_names, tuple(range(classes)))

    def save() -> None:
        write_text(log, "".join(json.dumps(row) + "\n" for row in rows))
        save_checkpoint(checkpoint, state)
        if watch is not None:
            with averaged(state):
                watch(generator, rows)

    meter, saved = Meter(min(own.batch_size, len(images))), monotonic()
    with console.bar(own.steps - state.step, "generator") as advance:
        for progress in train(state, source, images.labels, own):
            meter.add(progress)
            if progress.step % ROW_EVERY == 0 or progress.step == own.steps:
                rows.append(meter.row())
            advance(meter.note())
            if monotonic() - saved >= 60 * save_every and progress.step < own.steps:
                save()
                saved = monotonic()
    save()
    state.average.copy_to(trained(state))
    state.denoiser.eval().requires_grad_(False)
    save_generator(generator, folder, Path(own.autoencoder) if own.autoencoder else None)
    for path in (checkpoint, *(folder / "latents").glob("*")):
        discard(path)
    shutil.rmtree(folder / "latents", ignore_errors=True)
    write_text(folder / "done", "")
    write_receipt(folder / "done", [path for path in folder.rglob("[!.]*") if path.is_file()])


def learning_source(
    config: Config, images: ImageSet, folder: Path, device: str, console: Console
) -> tuple[Source, Pixels | Latents]:
    """What the generator learns from, and the autoencoder that takes it back to images."""
    own = config.generator
    if not own.autoencoder:
        return PixelSource(images), Pixels()
    path = Path(own.autoencoder)
    autoencoder = open_latents(path, images.shape, own.image_size, own.precision)
    autoencoder.network.to(device)
    made_from = {
        "dataset": to_dict(config)["dataset"],
        "autoencoder": {file.name: sha256(file) for file in network_files(path)},
        "image_size": autoencoder.size,
        "precision": own.precision,
    }
    with console.bar(len(images), "latents") as advance:
        source = encode_latents(images, autoencoder, own.flip, folder, made_from, device, advance)
    return source, autoencoder.normalised(source.mean.tolist(), source.std.tolist())


@contextmanager
def averaged(state: Training) -> Iterator[None]:
    """The denoiser with its averaged weights, for looking at; lastly as it was, to the bit."""
    parameters = trained(state)
    state.average.store(parameters)
    state.average.copy_to(parameters)
    state.denoiser.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        state.average.restore(parameters)
        state.denoiser.train()


def trained(state: Training) -> list[torch.nn.Parameter]:
    """The parameters that learn, in the optimiser's order."""
    return list(state.optimiser.param_groups[0]["params"])


class Meter:
    """Speed and loss since the last row."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self._start = monotonic()
        self._steps: list[Progress] = []
        self._note = ""

    def add(self, progress: Progress) -> None:
        self._steps.append(progress)

    def row(self) -> Row:
        """What happened since the row before, which starts the next."""
        seconds = monotonic() - self._start
        last = self._steps[-1]
        row = {
            "step": last.step,
            "loss": sum(p.loss for p in self._steps) / len(self._steps),
            "learning_rate": last.rate,
            "gradient_norm": sum(p.norm for p in self._steps) / len(self._steps),
            "images_per_second": round(self.batch * len(self._steps) / seconds, 2),
            "waiting": round(sum(p.waited for p in self._steps) / seconds, 4),
        }
        self._note = f"loss {row['loss']:.4f}, {row['images_per_second']:.0f} images/s"
        self._start, self._steps = monotonic(), []
        return row

    def note(self) -> str:
        """Of the last row, or of the last step where there is none yet."""
        return self._note or f"loss {self._steps[-1].loss:.4f}"
