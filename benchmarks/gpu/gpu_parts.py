"""The parts of the GPU measurement. Each takes (small, folder) and returns numbers or short texts by name.

small: sizes that a processor core finishes within seconds; they show that the part runs, not how fast a GPU is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from igd_reference import exact_copy, igd_score
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from lgd import __version__, distill
from lgd.classifiers.train import train_classifier
from lgd.config import ClassifierConfig, Config, GeneratorConfig, Precision, TrainingConfig, load_config, with_values
from lgd.data.imageset import ImageSet
from lgd.diffusion.families.dit import new_denoiser
from lgd.diffusion.latents import LatentSource
from lgd.diffusion.train import begin, noise_schedule, train
from lgd.execution.hardware import device_name, resolve_device
from lgd.execution.local import Local
from lgd.execution.ray import OnRay
from lgd.execution.units import Unit
from lgd.profiling.bench import Settings, matmul_peaks, row, sample_classes, variants_of, with_steps
from lgd.profiling.measure import count, take_turns, timed
from lgd.profiling.networks import RandomNetworks, random_networks
from lgd.profiling.sizes import Sizes
from lgd.profiling.workloads import Workload, Workloads
from lgd.storage.files import output_directory, read_json, write_json

Values = dict[str, Any]
CLASSES = 10


def machine(small: bool, folder: Path) -> Values:
    """Return the device and the versions."""
    gpu = torch.cuda.is_available()
    found: Values = {"GPU": torch.cuda.get_device_name() if gpu else "", "processor": device_name("cpu")}
    if gpu:
        found["GPU memory, GiB"] = torch.cuda.get_device_properties(0).total_memory / 2**30
    return {**found, "cores": len(os.sched_getaffinity(0)), "torch": torch.__version__, "lgd": __version__}


def digits(small: bool, folder: Path) -> Values:
    """Run `lgd distill digits` on the device."""
    widths = ("reference.width", "judge.width", "learner.width", "evaluation.classifier.width")
    tiny = {
        **dict.fromkeys(widths, 8),
        "judge.training.epochs": 1,
        "generator.blocks": 1,
        "generator.steps": 6,
        "reference.training.epochs": 1,
        "learner.training.epochs": 1,
        "evaluation.classifier.training.epochs": 1,
        "evaluation.seeds": 1,
        "evaluation.redundancy_seeds": 0,
        "sampling.steps": 4,
        "guidance.window": (1, 3),
        "stages.increments": 2,
        "stages.images_per_increment": 1,
        "stages.learners": 1,
    }
    config = with_values(load_config("digits"), {"compute.device": device(), "compute.workers": 1})
    start = time.perf_counter()
    run = distill(with_values(config, tiny) if small else config, folder / "run")
    found: Values = {"all, s": time.perf_counter() - start}
    metrics = read_json(run.metrics)
    found |= {f"{name}, s": float(seconds) for name, seconds in metrics["seconds"].items()}
    last = metrics["increments"][-1]
    return {**found, f"accuracy at {last['ipc']} IPC, %": float(last["accuracy"]["mean"]), **memory()}


def sampling(small: bool, folder: Path) -> Values:
    """Measure guided sampling: steps against the counts of `lgd plan`, whole images against IGD's loop.

    The full form has DiT-XL/2 and Stable Diffusion's autoencoder with random weights, at 256 x 256 in bfloat16.
    """
    rounds, precision = (1 if small else 3), precision_of(small)
    peaks = matmul_peaks(256 if small else 8192, device(), 5)
    found: Values = {f"matrix products, {name}, TFLOP/s": peak / 1e12 for name, peak in peaks.items()}
    values: dict[str, Any] = {"sampling.precision": precision, "stages.candidates": 3, "guidance.route": "denoiser"}
    side = 16 if small else 256
    if small:
        values |= {"generator.blocks": 1, "generator.patch_size": 4}
    else:
        values["generator.source"] = "pretrained:facebook/DiT-XL-2-256"  # its sizes; the weights stay random
    config, sizes = with_values(Config(), values), Sizes(CLASSES, 9469, 3925, (3, side, side), loaded=False)
    batch = 2 if small else 12
    for name, guidance in (("unguided", None), ("guided", "score")):

        def step(where: str, guidance: str | None = guidance) -> Workload:
            return Workloads(config, sizes, where).sampling_step(batch, guidance)

        found |= against_plan(f"{name} step of {batch} images", step, peaks[precision])
    free()
    size = RandomNetworks("tiny" if small else "xl", "small" if small else "sd", side, 3, 2 if small else 4, precision)
    networks = random_networks(size, device())
    settings = Settings(steps=4 if small else 10, rounds=rounds, every=2)
    base = with_steps(networks.config, settings)
    kept: dict[str, Any] = {}
    variants = variants_of(base, settings.every, small=True)

    def runner(name: str) -> Callable[[], None]:
        def run() -> None:
            recipe, small_decoder = variants[name]
            kept[name] = sample_classes(networks, recipe, small_decoder, guided=name != "unguided")

        return run

    reset_memory()
    times = take_turns({name: runner(name) for name in variants}, rounds)
    rates = {name: row(variants[name][0], times[name], kept[name], name != "unguided") for name in variants}
    for name, entry in rates.items():
        found[f"{name}, {settings.steps} steps, sampled/s"] = entry["sampled_per_second"]
    found |= memory("sampling, ")
    exact = exact_copy(networks)
    loop = timed(lambda: igd_score(exact, base, 0))
    found["IGD's loop, float32, sampled/s"] = base.stages.candidates / loop
    return found


def training(small: bool, folder: Path) -> Values:
    """Measure training steps of DiT-B/2 on latents of 4 x 32 x 32 (256 tokens), by autocast and with packed weights."""
    shape, batch, images = ((4, 4, 4), 4, 8) if small else ((4, 32, 32), 128, 1024)
    peaks = matmul_peaks(256 if small else 8192, device(), 5)
    found: Values = {}
    for precision in ("bfloat16", "auto"):
        values = {"generator.size": "base", "generator.batch_size": batch, "generator.precision": precision}
        values |= {"generator.steps": 2 if small else 20}
        if small:
            values |= {"generator.size": "custom", "generator.blocks": 1}
        config = with_values(Config(), values)
        planned = Workloads(config, Sizes(CLASSES, images, 1, shape, loaded=False), "cpu").generator_training_step()
        flops, most = counted(planned)
        reset_memory()
        denoiser = new_denoiser(config.generator, shape, CLASSES).to(device())
        state = begin(denoiser, config.generator, images)
        array = np.random.default_rng(0).standard_normal((1, images, *shape), dtype=np.float32).astype(np.float16)
        source = LatentSource(array, torch.zeros(shape[0]), torch.ones(shape[0]))
        steps = train(
            state, source, torch.arange(images) % CLASSES, noise_schedule(config.generator, 5.0), config.generator
        )
        next(steps)
        times = [timed(partial(next, steps)) for _ in range(config.generator.steps - 1)]
        name = "packed" if precision == "auto" else "autocast"
        found[f"{name}, step of {batch}, ms"] = 1000 * median(times)
        found[f"{name}, images/s"] = batch / median(times)
        found[f"{name}, share of peak, %"] = 100 * flops / median(times) / peaks["bfloat16"]
        found |= memory(f"{name}, ", most)
        del denoiser, state, steps
        free()
    return found


def evaluation(small: bool, folder: Path) -> Values:
    """Measure the training of a ResNet-18 at 224 x 224 on random images."""
    side, images, batch = (32, 8, 4) if small else (224, 1024, 128)
    train_set = random_images(images, side)
    peaks = matmul_peaks(256 if small else 8192, device(), 5)
    found: Values = {}
    precisions: tuple[Precision, ...] = ("float32",) if small else ("float32", "bfloat16")
    for precision in precisions:
        config = resnet18(precision, batch, epochs=3)
        sizes = Sizes(CLASSES, images, 1, train_set.shape, loaded=False)
        flops, most = counted(Workloads(Config(), sizes, "cpu").classifier_training_step(config, images))
        ends: list[float] = []
        reset_memory()
        train_classifier(train_set, config, 0, device(), watch=lambda *_, ends=ends: ends.append(now()))
        seconds = (ends[-1] - ends[0]) / (len(ends) - 1)
        found[f"{precision}, images/s"] = images / seconds
        found[f"{precision}, share of peak, %"] = 100 * flops / batch * images / seconds / peaks[precision]
        found |= memory(f"{precision}, ", most)
        free()
    return found


def ray(small: bool, folder: Path) -> Values:
    """Measure two trainings that share the device through Ray, against the same two one after another."""
    values = {"compute.engine": "ray", "compute.address": "local", "compute.workers": 2, "compute.retries": 0}
    values["compute.gpus_per_unit"] = 0.5 if device() == "cuda" else 0
    compute = with_values(Config(), values).compute
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - Ray's own 15 starves the workers beside other load
    found: Values = {}
    with output_directory(folder / "out") as root:
        Local(1, root).run(two_units(root, "alone", small), "alone")
        with OnRay(compute, root) as engine:
            engine.run(two_units(root, "first", True), "first")  # workers start and import
            engine.run(two_units(root, "together", small), "together")
        for name in ("alone", "together"):
            spans = [read_json(unit.done) for unit in two_units(root, name, small)]
            start, end = (pick(span[key] for span in spans) for key, pick in (("start", min), ("end", max)))
            found[f"{name}, s"] = end - start
        overlap = min(span["end"] for span in spans) - max(span["start"] for span in spans)
    found["both at work at once, s"] = max(0.0, overlap)
    found["processes"] = len({span["process"] for span in spans})
    return {**found, "device": ", ".join(sorted({span["device"] for span in spans}))}


def compile(small: bool, folder: Path) -> Values:
    """Measure torch.compile on and off for DiT-B/2: a forward pass, and a forward and backward pass in autocast.

    The small form compiles for the backend `eager`, which needs no compiler.
    """
    blocks: Any = {"size": "custom", "blocks": 1} if small else {"size": "base"}
    shape, batch = ((4, 4, 4), 2) if small else ((4, 32, 32), 64)
    found: Values = {}
    x, t = torch.randn(batch, *shape, device=device()), torch.zeros(batch, dtype=torch.long, device=device())
    denoiser: Any = new_denoiser(GeneratorConfig(**blocks), shape, CLASSES).to(device())
    compiled = torch.compile(denoiser, backend="eager" if small else "inductor")

    def forward(network: Any) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            return network(x, timestep=t, class_labels=t).sample

    def sample(network: Any) -> None:
        with torch.no_grad():
            forward(network)

    def learn(network: Any) -> None:
        forward(network).float().square().mean().backward()

    for name, work in (("forward", sample), ("forward and backward", learn)):
        found[f"{name}, first call compiled, s"] = timed(partial(work, compiled))
        calls = {"off": partial(work, denoiser), "on": partial(work, compiled)}
        for state, times in take_turns(calls, 1 if small else 10).items():
            found[f"{name}, compile {state}, ms"] = 1000 * times.median
    return found


def precision_of(small: bool) -> Precision:
    """Return the precision of sampling."""
    return "float32" if small else "bfloat16"


def device() -> str:
    """Return the device of all parts."""
    return resolve_device("auto")


def now() -> float:
    """Return the seconds of a clock after the device has finished its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def reset_memory() -> None:
    """Start a new measurement of the GPU's peak memory."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def free() -> None:
    """Return unused memory to the GPU."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def memory(name: str = "", planned: int = 0) -> Values:
    """Return the GPU's peak memory since `reset_memory`, and the planned bytes, where there are some."""
    found: Values = {}
    if torch.cuda.is_available():
        found[f"{name}peak memory, GiB"] = torch.cuda.max_memory_allocated() / 2**30
    if planned:
        found[f"{name}planned memory, GiB"] = planned / 2**30
    return found


def counted(work: Workload) -> tuple[int, int]:
    """Return the operations and the peak memory of a workload on the device `cpu`, as `lgd plan --count` does."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        return count(*work.build())


def against_plan(name: str, workloads: Callable[[str], Workload], peak: float) -> Values:
    """Measure a workload on the device, and compare it with the operations and the memory that `lgd plan` counts."""
    planned, work = workloads("cpu"), workloads(device())
    flops, most = counted(planned)
    reset_memory()
    function, networks = work.build()
    function()
    seconds = median(timed(function) for _ in range(5))
    found = {f"{name}, ms": 1000 * seconds, f"{name}, TFLOP": flops / 1e12}
    found[f"{name}, share of peak (lgd plan: 40), %"] = 100 * flops / seconds / peak
    found |= memory(f"{name}, ", most)
    del function, networks
    return found


def random_images(count: int, side: int) -> ImageSet:
    """Return random images of `side` pixels with labels."""
    pixels = torch.randint(256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return ImageSet(pixels, torch.arange(count) % CLASSES, tuple(map(str, range(CLASSES))))


def resnet18(precision: Precision, batch: int, epochs: int) -> ClassifierConfig:
    """Return the configuration of a ResNet-18 and its training."""
    training = TrainingConfig(epochs=epochs, batch_size=batch, precision=precision, flip=True, crop_padding=4)
    return ClassifierConfig(architecture="resnet18", training=training)


def two_units(root: Path, name: str, small: bool) -> list[Unit]:
    """Return two trainings that write into `root`."""
    done = [root / f"{name}-{i}.json" for i in range(2)]
    return [Unit(path.stem, train_unit, (path, small), path) for path in done]


def train_unit(done: Path, small: bool) -> None:
    """Train a ResNet-18 and write when, where and by which process."""
    images, side = (4, 16) if small else (256, 112)
    start = time.time()
    train_classifier(random_images(images, side), resnet18("float32", min(64, images), 1 if small else 8), 0, device())
    now()
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    write_json(done, {"start": start, "end": time.time(), "process": os.getpid(), "device": name})
