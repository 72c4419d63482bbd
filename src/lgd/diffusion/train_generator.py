"""Train a generator into a folder: encode the images, take the steps, save often enough to go on after an interruption.

GENERATOR/source.json (of a fine-tuning)   latents/   checkpoint.safetensors   training.jsonl
and lastly what `save_generator` writes   done
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from diffusers import DDPMScheduler

from lgd.config import DatasetConfig, GeneratorConfig, Precision, to_dict
from lgd.data.imageset import ImageSet
from lgd.errors import UserError
from lgd.execution.receipts import write_receipt
from lgd.execution.units import Unit, unfinished
from lgd.progress import log, progress_bar
from lgd.storage.files import discard, read_json_lines, sha256, write_text

from .autoencoder import Latents, Pixels, Shape, open_latents, small_decoder
from .autoencoder_networks import in_precision, load_network, network_files
from .checkpoint import load_checkpoint, save_checkpoint, trained
from .class_map import read_table
from .families.dit import check_patch, new_denoiser, with_plain_attention
from .finetune import fold_scales, for_difffit, start_ids, with_classes
from .folder import (
    autoencoder_folder,
    load_source,
    pin_source,
    request_of,
    save_generator,
    source_family,
    source_folder,
    source_vocabulary,
)
from .generator import Generator
from .latents import LatentSource, PixelSource, Source, encode_latents
from .time_embedding import saved_frequencies, set_frequencies
from .train import Progress, Training, begin, half_precision, noise_schedule, train

CLIP = 5.0
"""standard deviations that predicted clean latents of an autoencoder are clamped to; pixels: [-1, 1]"""
SAVE_EVERY = 5.0
"""minutes"""
ROW_EVERY = 50
"""steps per row of training.jsonl"""

Row = dict[str, Any]
Watch = Callable[[Generator, list[Row]], object]
"""Called whenever a checkpoint was saved, with the averaged weights and the rows of training.jsonl."""


@dataclass(frozen=True)
class Start:
    """The denoiser, autoencoder and schedule that a training starts from."""

    denoiser: Any
    autoencoder: Pixels | Latents
    """not normalised yet, where the images decide how"""
    network: Path | None
    """the folder that the autoencoder is read from"""
    scheduler: DDPMScheduler


def check_generator(config: GeneratorConfig, images: ImageSet) -> None:
    """Check, before any work, that the generator can be loaded or trained for these images. Errors: UserError."""
    if not config.source:
        check_patch(config, own_autoencoder(config, images)[1])
    elif config.tune == "none":
        source_family(config.source).check(request_of(config, images.class_names))
    elif not (family := source_family(config.source)).trains:
        raise UserError(f"generator.tune: {config.source} is a {family.summary}; only DiTs are fine-tuned")
    else:
        known = source_vocabulary(config.source)
        assert known is not None
        start_ids(images.class_names, known, read_table(config.class_map, images.class_names))
        saved_frequencies(source_folder(config.source), config.time_frequencies)


def check_decoder(decoder: str, config: GeneratorConfig, shape: Shape) -> None:
    """Check, before any work, that guidance's small decoder fits the latents. Errors: UserError.

    decoder: its folder, empty for none. shape: of the images, (C, H, W).
    """
    if not decoder:
        return
    own: Pixels | Latents = Pixels()
    place = autoencoder_folder(config.source) if config.source else Path(config.autoencoder or "-")
    if place.is_dir():
        own = Latents(load_network(place), shape, shape[1], (0.0,), (1.0,))
    small_decoder(Path(decoder), own)


def own_autoencoder(config: GeneratorConfig, images: ImageSet) -> tuple[Pixels | Latents, Shape]:
    """Return the autoencoder of a new generator and the shape of its latents. Errors: UserError."""
    if config.autoencoder:
        autoencoder = open_latents(Path(config.autoencoder), images.shape, config.image_size, encoding(config))
        return autoencoder, autoencoder.shape
    if config.image_size:
        raise UserError(
            "generator.image_size: only an autoencoder sees images of another size; name its folder as"
            " generator.autoencoder, or a trained generator as generator.source"
        )
    return Pixels(), images.shape


def encoding(config: GeneratorConfig) -> Precision:
    """Return the precision of encoding images: float32 unless training asks for bfloat16."""
    return "bfloat16" if config.precision == "bfloat16" else "float32"


def new_start(config: GeneratorConfig, images: ImageSet) -> Start:
    """Return the start of a training with fresh weights."""
    autoencoder, shape = own_autoencoder(config, images)
    kind = "diffusers" if config.time_frequencies == "auto" else config.time_frequencies
    denoiser = set_frequencies(new_denoiser(config, shape, len(images.class_names)), kind)
    network = Path(config.autoencoder) if config.autoencoder else None
    return Start(denoiser, autoencoder, network, noise_schedule(config, CLIP if network else 1.0))


def tuned_start(config: GeneratorConfig, images: ImageSet) -> Start:
    """Return the start of fine-tuning: the source with a label table for the images' classes. Errors: UserError."""
    known = source_vocabulary(config.source)
    assert known is not None  # as check_generator made sure
    starts = start_ids(images.class_names, known, read_table(config.class_map, images.class_names))
    log.info(
        f"generator: {len(starts) - starts.count(None)} of {len(starts)} classes start from one of {config.source},"
        " the others from its null class"
    )
    source = load_source(config.source, images.shape, frequencies=config.time_frequencies)
    denoiser = with_classes(source.denoiser, starts)
    if config.tune == "difffit":
        for_difffit(denoiser)
    scheduler = DDPMScheduler.from_config(source.scheduler_config)
    if not isinstance(source.autoencoder, Latents):
        return Start(denoiser, Pixels(), None, scheduler)
    in_precision(source.autoencoder.network, encoding(config))
    return Start(denoiser, source.autoencoder, autoencoder_folder(config.source), scheduler)


@dataclass(frozen=True)
class GeneratorTraining:
    """The images and settings of a generator's training."""

    config: GeneratorConfig
    dataset: DatasetConfig
    """the source of `images`; encoded latents are kept for it alone"""
    images: ImageSet
    device: str


def make_generator(
    training: GeneratorTraining, folder: Path, save_every: float = SAVE_EVERY, watch: Watch | None = None
) -> None:
    """Train the configured generator into `folder`, unless it is there; an interrupted training goes on.

    save_every: minutes between checkpoints. Errors: UserError; NonFiniteError naming the step.
    """
    if not unfinished([Unit("generator", make_generator, (), folder / "done")], folder):
        return
    own, images, device = training.config, training.images, training.device
    if own.tune == "none":
        start = new_start(own, images)
    else:
        start = tuned_start(own, images)
        pin_source(own, folder / "source.json", folder)
    source, autoencoder = learning_source(training, start, folder / "latents")
    denoiser = start.denoiser.to(device)
    if device == "cpu" and half_precision(own, device):
        with_plain_attention(denoiser)
    state = begin(denoiser, own, len(images))
    checkpoint, history = folder / "checkpoint.safetensors", folder / "training.jsonl"
    rows: list[Row] = []
    if checkpoint.exists():
        load_checkpoint(checkpoint, state)
        rows = [row for row in read_json_lines(history) if row["step"] <= state.step]
        log.info(f"generator: goes on after step {state.step}")
    ids = tuple(range(len(images.class_names)))
    generator = Generator(denoiser, dict(start.scheduler.config), autoencoder, images.class_names, ids)

    def save() -> None:
        write_text(history, "".join(json.dumps(row) + "\n" for row in rows))
        save_checkpoint(checkpoint, state)
        if watch is not None:
            with averaged(state):
                watch(generator, rows)

    meter, saved = Meter(min(own.batch_size, len(images))), monotonic()
    with progress_bar(own.steps - state.step, "generator") as advance:
        for progress in train(state, source, images.labels, start.scheduler, own):
            meter.add(progress)
            if progress.step % ROW_EVERY == 0 or progress.step == own.steps:
                rows.append(meter.row())
            advance(meter.note())
            if monotonic() - saved >= 60 * save_every and progress.step < own.steps:
                save()
                saved = monotonic()
    save()
    state.average.copy_to(trained(state))
    fold_scales(denoiser)
    denoiser.eval().requires_grad_(False)
    save_generator(generator, folder, start.network)
    for path in (checkpoint, *(folder / "latents").glob("*")):
        discard(path)
    shutil.rmtree(folder / "latents", ignore_errors=True)
    write_text(folder / "done", "")
    write_receipt(folder / "done", [path for path in folder.rglob("[!.]*") if path.is_file()])


def learning_source(training: GeneratorTraining, start: Start, folder: Path) -> tuple[Source, Pixels | Latents]:
    """Return the source that the generator learns from, and the autoencoder that decodes it.

    A source's latents stay normalised as they were; those of a new generator are by the images' own moments.
    """
    own, images, autoencoder = training.config, training.images, start.autoencoder
    if isinstance(autoencoder, Pixels):
        return PixelSource(images), autoencoder
    assert start.network is not None
    autoencoder.network.to(training.device)
    made_from = {
        "dataset": to_dict(training.dataset),
        "autoencoder": {file.name: sha256(file) for file in network_files(start.network)},
        "image_size": autoencoder.size,
        "precision": encoding(own),
    }
    with progress_bar(len(images), "latents") as advance:
        source = encode_latents(images, autoencoder, own.flip, folder, made_from, advance)
    if own.tune == "none":
        return source, autoencoder.normalised(source.mean.tolist(), source.std.tolist())
    mean, std = torch.tensor(autoencoder.mean), torch.tensor(autoencoder.std)
    return LatentSource(source.array, mean, std), autoencoder


@contextmanager
def averaged(state: Training) -> Iterator[None]:
    """Put the averaged weights into the denoiser for the block, and restore its own afterwards, to the bit."""
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
        """Return the row of training.jsonl for the steps since the row before."""
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
        """Return the text beside the progress bar: of the last row, or of the last step before the first row."""
        return self._note or f"loss {self._steps[-1].loss:.4f}"
