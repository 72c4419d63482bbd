"""Train a DiT in one go, for as many minutes as given; weights, samples and losses in small files.

    benchmarks/gpu/run.sh train --source parquet:TRAIN,TEST --autoencoder TAEF2 [--minutes 9] [--size small]

Encodes the images and their mirror images on the device and keeps the latents there. Measures a step, sets the number
of steps so that the learning rate reaches zero in time, and samples from the averaged weights. Writes into $OUT
(default: benchmarks/gpu/out) report.json, training.jsonl, samples.png, the generator in half precision as a folder, and
the same as generator.tar.0, generator.tar.1, ...: `cat generator.tar.* | tar x` joins them. A folder at-SHARE holds the
averaged weights as they were after each of the shares --keep of the steps.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import torch
from torch import Tensor

from lgd.config import Config, DatasetConfig, GeneratorConfig, SamplingConfig, with_values
from lgd.data.splits import load_splits
from lgd.diffusion.autoencoder import Latents, Shape
from lgd.diffusion.checkpoint import trained
from lgd.diffusion.folder import save_generator
from lgd.diffusion.generator import Generator
from lgd.diffusion.latents import LatentSource, encode_latents
from lgd.diffusion.starts import Start, new_start
from lgd.diffusion.train import Training, begin, train
from lgd.diffusion.train_generator import Meter, Row
from lgd.execution.hardware import device_name, resolve_device
from lgd.experiments.preview import preview_samples, write_grid

PART = 15_000_000
"""bytes of the largest file"""
PROBE = 40
"""steps by which a step's time is first measured, the second half of them"""
REPLAN = 500
"""steps after which it is measured again"""
SAMPLING_STEPS = 50
SAMPLING = 30.0
"""seconds kept for samples and files"""


@dataclass
class OnDevice:
    """Normalised latents in the device's memory, float16 (views, N, C, H, W); the second view is the mirrored one."""

    views: Tensor
    shape: Shape

    def stream(self, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        return iter(chunks)

    def latents(self, item: Tensor, flipped: Tensor | None) -> Tensor:
        view = torch.zeros_like(item) if flipped is None else flipped.long()
        return self.views[view.to(self.views.device), item.to(self.views.device)].float()


def on_device(source: LatentSource, device: str) -> OnDevice:
    """Return the latents of a source, normalised, in the memory of a device."""
    columns = (value.to(device).view(-1, 1, 1) for value in (source.mean, source.std))
    views, (mean, std) = torch.from_numpy(source.array).to(device), columns
    for view in views:
        for part in view.split(256):
            part.copy_((part.float() - mean) / std)
    return OnDevice(views, source.shape)


@dataclass
class Plan:
    """When training ends, and what is kept on the way."""

    until: float
    """time of `monotonic`"""
    shares: Sequence[float]
    """of the steps, after which `keep` is called with the share"""
    keep: Callable[[float], object]


def learn(
    state: Training,
    source: OnDevice,
    labels: Tensor,
    start: Start,
    own: GeneratorConfig,
    plan: Plan,
) -> list[Row]:
    """Train until a time, with a learning rate that falls to zero by then; return rows of losses.

    How many steps that makes is found anew after every REPLAN of them, as other work may slow the device down.
    """
    rows: list[Row] = []
    meter = Meter(min(own.batch_size, len(labels)))
    shares = sorted(plan.shares)

    def take(steps: int, most: int) -> float:
        """Take `most` steps on the way to `steps`; return the seconds of one of their second half."""
        first, half = state.step, monotonic()
        for progress in train(state, source, labels, start.scheduler, replace(own, steps=steps)):
            meter.add(progress)
            half = monotonic() if progress.step == first + most // 2 else half
            over = monotonic() > plan.until
            if over or progress.step % PROBE == 0 or progress.step == steps:
                rows.append(meter.row())
            while shares and progress.step >= max(PROBE + 1, shares[0] * steps):
                plan.keep(shares.pop(0))
            if over or progress.step == first + most:
                break
        return (monotonic() - half) / (most - most // 2)

    seconds = take(PROBE, PROBE)
    print(f"{1000 * seconds:.1f} ms a step", flush=True)
    while (left := int(0.97 * (plan.until - monotonic()) / seconds)) > 0:
        seconds = take(state.step + left, min(left, REPLAN))
    for share in shares:  # the time was up before
        plan.keep(share)
    return rows


def averaged(state: Training, start: Start, autoencoder: Latents, names: tuple[str, ...]) -> Generator:
    """Return the generator with a copy of the averaged weights."""
    own = trained(state)
    state.average.store(own)
    state.average.copy_to(own)
    denoiser = copy.deepcopy(state.denoiser).eval().requires_grad_(False)
    state.average.restore(own)
    return Generator(denoiser, dict(start.scheduler.config), autoencoder, names, start.conditions.class_ids)


def write_generator(generator: Generator, autoencoder: Path, folder: Path) -> None:
    """Write a generator in half precision, as a folder that is whole as soon as it is there."""
    part = folder.with_name(f"{folder.name}.part")
    save_generator(replace(generator, denoiser=copy.deepcopy(generator.denoiser).half()), part, autoencoder)
    shutil.rmtree(folder, ignore_errors=True)  # of a training before this one
    part.replace(folder)


def write_parts(folder: Path, out: Path) -> None:
    """Write a folder as a tar in files of at most PART bytes: NAME.tar.0, NAME.tar.1, ..."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        tar.add(folder, folder.name)
    content = whole.getvalue()
    for number, start in enumerate(range(0, len(content), PART)):
        (out / f"{folder.name}.tar.{number}").write_bytes(content[start : start + PART])


def main(arguments: list[str] | None = None) -> None:
    begun = monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True)
    parser.add_argument("--autoencoder", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=9.0, help="of the whole command")
    parser.add_argument("--size", default="small", help="generator.size: tiny, small, base or custom")
    parser.add_argument("--blocks", type=int, default=12, help="for size custom, as heads and head width")
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--head-width", type=int, default=48)
    parser.add_argument("--image-size", type=int, default=256, help="side in pixels that the autoencoder sees")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--keep", type=float, nargs="*", default=[0.1], help="shares of the steps, each kept")
    parser.add_argument("--per-class", type=int, default=8, help="samples on the picture")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    device = resolve_device("auto")
    images = load_splits(DatasetConfig(source=options.source, size=options.image_size)).train
    values = {
        "autoencoder": str(options.autoencoder),
        "image_size": options.image_size,
        "size": options.size,
        "blocks": options.blocks,
        "heads": options.heads,
        "head_width": options.head_width,
        "batch_size": options.batch,
        "learning_rate": options.rate,
        "warmup_steps": 500,
        "ema_decay": 0.9995,
        "prediction": "sample",
        "min_snr": 5.0,
        "snr_offset": 1.0,
        "flip": True,
        "precision": "auto",
    }
    own = with_values(Config(), {f"generator.{name}": value for name, value in values.items()}).generator
    start = new_start(own, images)
    assert isinstance(start.autoencoder, Latents)
    start.autoencoder.network.to(device)
    with TemporaryDirectory() as folder:
        kept = encode_latents(images, start.autoencoder, True, Path(folder), {}, lambda count: None)
        source = on_device(kept, device)
        autoencoder = start.autoencoder.normalised(kept.mean.tolist(), kept.std.tolist())
    print(f"{len(images)} images encoded after {monotonic() - begun:.0f} s", flush=True)
    state = begin(start.denoiser.to(device), own, len(images))
    state.draw = torch.Generator(device).manual_seed(own.seed)

    def keep(name: str) -> Generator:
        generator = averaged(state, start, autoencoder, images.class_names)
        write_generator(generator, options.autoencoder, options.out / name)
        return generator

    plan = Plan(begun + 60 * options.minutes - SAMPLING, options.keep, lambda share: keep(f"at-{share:g}"))
    rows = learn(state, source, images.labels, start, own, plan)
    (options.out / "training.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    generator = keep("generator")
    write_parts(options.out / "generator", options.out)
    sampling = SamplingConfig(steps=SAMPLING_STEPS, classifier_free_scale=2.0, batch_size=40)
    write_grid(
        preview_samples(generator, range(len(images.class_names)), options.per_class, sampling, 0),
        options.out / "samples.png",
    )
    report = {
        "device": torch.cuda.get_device_name() if device != "cpu" else device_name("cpu"),
        "parameters": sum(parameter.numel() for parameter in generator.denoiser.parameters()),
        "images": len(images),
        "latents": list(source.shape),
        "steps": state.step,
        "epochs": state.step * min(own.batch_size, len(images)) / len(images),
        "loss": rows[-1]["loss"],
        "seconds": round(monotonic() - begun, 1),
    }
    (options.out / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
