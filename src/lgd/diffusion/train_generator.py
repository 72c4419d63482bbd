"""Train a generator into a folder: encode the images, take the steps, save often enough to go on after an interruption.

GENERATOR/source.json (of a fine-tuning)   latents/   checkpoint.safetensors   training.jsonl
and lastly what `save_generator` writes   done
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import Any

import torch

from lgd.config import DatasetConfig, GeneratorConfig, to_dict
from lgd.data.imageset import ImageSet
from lgd.execution.receipts import write_receipt
from lgd.execution.units import Unit, unfinished
from lgd.progress import log, progress_bar
from lgd.storage.files import discard, read_json_lines, sha256, write_text

from .autoencoder import Autoencoder, Pixels
from .autoencoder_networks import network_files
from .checkpoint import load_checkpoint, save_checkpoint, trained
from .families.dit import DIT, with_plain_attention
from .finetune import ADAPTER, merge, save_adapter
from .folder import ORIGIN, pin_source, save_generator, save_pipeline
from .generator import Generator
from .latents import Encoder, LatentSource, PixelSource, Source, encode_images, encode_latents
from .pretrained import PREFIX
from .starts import Start, encoding, new_start, tuned_start
from .train import Progress, Training, begin, half_precision, train

SAVE_EVERY = 5.0
"""minutes"""
ROW_EVERY = 50
"""steps per row of training.jsonl"""
TRIAL_STEPS = 30
"""steps of the warm-up after which the number of steps is settled"""

Row = dict[str, Any]
Settle = Callable[[float], GeneratorConfig]
"""Takes the seconds of a step, and returns the configuration with the number of steps to take."""
Watch = Callable[[Generator, list[Row]], object]
"""Called whenever a checkpoint was saved, with the averaged weights and the rows of training.jsonl."""


@dataclass(frozen=True)
class GeneratorTraining:
    """The images and settings of a generator's training."""

    config: GeneratorConfig
    dataset: DatasetConfig
    """the source of `images`; encoded latents are kept for it alone"""
    images: ImageSet
    device: str
    maps: Encoder | None = None
    """makes the feature maps that tokens are aligned with, where generator.align asks for it"""


def make_generator(
    training: GeneratorTraining,
    folder: Path,
    save_every: float = SAVE_EVERY,
    watch: Watch | None = None,
    settle: Settle | None = None,
) -> None:
    """Train the configured generator into `folder`, unless it is there; an interrupted training goes on.

    save_every: minutes between checkpoints. settle: called after some steps of the warm-up, which do not depend on the
    number of steps. Errors: UserError; NonFiniteError naming the step.
    """
    if not unfinished([Unit("generator", make_generator, (), folder / "done")], folder):
        return
    own, images, device = training.config, training.images, training.device
    if own.tune == "none":
        start = new_start(own, images)
    else:
        start = tuned_start(own, images, folder)
        pin_source(own, folder / ORIGIN, folder)
    source, autoencoder = learning_source(training, start, folder / "latents")
    denoiser = start.denoiser.to(device)
    if device == "cpu" and half_precision(own, device):
        with_plain_attention(denoiser)
    embeddings = start.conditions.embeddings and start.conditions.embeddings.to(torch.device(device))
    maps = feature_maps(training, folder / "latents") if own.align else None
    state = begin(denoiser, own, len(images), start.family, embeddings, maps)
    checkpoint, history = folder / "checkpoint.safetensors", folder / "training.jsonl"
    rows: list[Row] = []
    if checkpoint.exists():
        load_checkpoint(checkpoint, state)
        rows = [row for row in read_json_lines(history) if row["step"] <= state.step]
        log.info(f"generator: goes on after step {state.step}")
    ids, schedule = start.conditions.class_ids, dict(start.scheduler.config)
    generator = Generator(denoiser, schedule, autoencoder, images.class_names, ids, start.family, embeddings)

    def save() -> None:
        write_text(history, "".join(json.dumps(row) + "\n" for row in rows))
        save_checkpoint(checkpoint, state)
        if watch is not None:
            with averaged(state):
                watch(generator, rows)

    meter, saved = Meter(min(own.batch_size, len(images))), monotonic()
    if settle is not None:
        trial = replace(own, steps=min(TRIAL_STEPS, own.warmup_steps, own.steps - 1))
        times = [monotonic()]
        for progress in train(state, source, images.labels, start.scheduler, trial):
            meter.add(progress)
            times.append(monotonic())
        each = [after - before for before, after in pairwise(times)]
        own = settle(sum(each[1:]) / len(each[1:]) if each[1:] else 0.0)  # the first prepares
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
    if own.tune == "lora":
        save_adapter(denoiser, own.source.removeprefix(PREFIX), folder / ADAPTER)
    merge(denoiser)
    denoiser.eval().requires_grad_(False)
    if start.family.part == DIT.part:
        save_generator(generator, folder, start.network)
    else:
        save_pipeline(generator, folder, own.source)
    for path in (checkpoint, *(folder / "latents").glob("*")):
        discard(path)
    shutil.rmtree(folder / "latents", ignore_errors=True)
    write_text(folder / "done", "")
    write_receipt(folder / "done", [path for path in folder.rglob("[!.]*") if path.is_file()])


def learning_source(training: GeneratorTraining, start: Start, folder: Path) -> tuple[Source, Autoencoder]:
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


def feature_maps(training: GeneratorTraining, folder: Path) -> LatentSource:
    """Return the feature maps of the images, which are kept in a folder meanwhile."""
    assert training.maps is not None
    with progress_bar(len(training.images), "feature maps") as advance:
        return encode_images(training.images, training.maps, training.config.flip, folder / "maps.npy", advance)


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
