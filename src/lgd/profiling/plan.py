"""Estimate the time and memory of each phase of a run, from short trials or from counted operations."""

from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from torch._subclasses.fake_tensor import FakeTensorMode

from lgd.config import Config
from lgd.distillation.calibration import calibration_units
from lgd.distillation.fresh import fresh_units, images_per_class, some_classes
from lgd.distillation.layout import CALIBRATED_STRENGTHS, Run
from lgd.distillation.methods import growth_of, method_named, methods_used, real_image_units
from lgd.distillation.recipe import Recipe, assets_of
from lgd.distillation.stages import learner_units, sampling_units
from lgd.errors import reading
from lgd.evaluation.protocols import network_for
from lgd.evaluation.schedule import cells_of
from lgd.evaluation.tables import Table, explained
from lgd.execution.hardware import cpu_threads, resolve_device, worker_count
from lgd.storage.files import read_json

from .bench import matmul_peaks
from .measure import count, timed
from .sizes import Sizes
from .workloads import Workload, Workloads

Parts = list[tuple[float, Workload]]
"""numbers of items, and the work on each item"""

LONGEST_TRIAL = 2e12
"""operations; a larger workload is estimated from its operations instead of timed"""


@dataclass(frozen=True)
class Phase:
    """The estimate of one phase of a run."""

    name: str
    seconds: float
    """time of all its work on one core, or on one device"""
    workers: int
    """number of processes that share the work"""
    bytes: int
    """peak memory of the tensors in one process, weights included; without the memory of the process itself"""
    tried: bool
    """whether the time comes from trials, and not from operations alone"""

    @property
    def wall(self) -> float:
        return self.seconds / self.workers


@dataclass(frozen=True)
class Plan:
    """The estimate of a whole run."""

    phases: list[Phase]
    process: int
    """memory of a process with its libraries and the images, in bytes"""

    @property
    def seconds(self) -> float:
        return sum(phase.wall for phase in self.phases)

    @property
    def peak(self) -> int:
        """Return the memory of the largest process, in bytes."""
        return self.process + max(phase.bytes for phase in self.phases)


@dataclass(frozen=True)
class Rates:
    """The operations per second that a device reaches, by precision."""

    float32: float
    bfloat16: float


def rates_of(measured: Path | None, tflops: float, share: float, device: str) -> Rates:
    """Return rates from a result of `lgd bench`, from a peak in TFLOP/s, or from matrix products timed here.

    share: of the peak that is reached; a result of `lgd bench` has that of its denoiser instead. Errors: UserError.
    """
    if tflops:
        return Rates(tflops * 1e12 * share / 4, tflops * 1e12 * share)
    if measured is not None:
        values = read_json(measured)
        with reading(measured):
            peaks, share = values["matmul"], float(values["denoiser"]["share_of_peak"])
            return Rates(float(peaks["float32"]) * share, float(peaks["bfloat16"]) * share)
    peaks = matmul_peaks(1024, resolve_device(device), 3)
    return Rates(peaks["float32"] * share, peaks["bfloat16"] * share)


def plan(config: Config, sizes: Sizes, rates: Rates, fake: bool) -> Plan:
    """Estimate a run. fake: count operations only, for networks that are not here or too large."""
    workloads = Workloads(config, sizes, "cpu" if fake else resolve_device(config.compute.device))
    process = int(psutil.Process().memory_info().rss) + (0 if sizes.loaded else sizes.bytes)
    workers = worker_count(config.compute)

    known: dict[tuple[Any, ...], tuple[float, int, bool]] = {}
    shapes = FakeTensorMode(allow_non_fake_inputs=True) if fake else nullcontext()

    def assess(work: Workload) -> tuple[float, int, bool]:
        """Return the seconds per item, the peak memory, and whether the time was measured; of equal work, once."""
        if work.key not in known:
            known[work.key] = measure(work)
        return known[work.key]

    def measure(work: Workload) -> tuple[float, int, bool]:
        with shapes:
            function, networks = work.build()
            flops, most = count(function, networks)
        peak = rates.bfloat16 if work.bfloat16 else rates.float32
        if fake or flops > LONGEST_TRIAL:
            return flops / peak / work.items, most, False
        function()
        return median(timed(function) for _ in range(5)) / work.items, most, True

    def phase(name: str, parts: Parts, shared: int) -> Phase | None:
        found = [(items, *assess(work)) for items, work in parts if items]
        if not found:
            return None
        seconds = sum(items * each for items, each, _, _ in found)
        together = max(1, min(shared, workers))
        return Phase(name, seconds, together, max(row[2] for row in found), all(row[3] for row in found))

    with cpu_threads(1):
        phases = [phase(name, parts, shared) for name, parts, shared in schedule(config, sizes, workloads)]
    return Plan([found for found in phases if found is not None], process)


def schedule(config: Config, sizes: Sizes, workloads: Workloads) -> Iterator[tuple[str, Parts, int]]:
    """Yield each phase of a run: name, work and number of units to share, from the functions that make the units."""
    own, used = config.generator, methods_used(config)
    assets = assets_of(config, Path(), workloads.device)
    names = tuple(map(str, range(sizes.classes)))
    growth = growth_of(config, Run(Path()), assets, names)
    each = config.stages.images_per_increment * sizes.classes  # images per increment
    if any(method.needs_generator for method in used) and (not own.source or own.tune != "none"):
        yield "generator", [(own.steps, workloads.generator_training_step())], 1
    epochs = 0 if config.reference.weights else config.reference.training.epochs
    yield "reference", [(epochs * sizes.images, workloads.classifier_training_step(config.reference, sizes.images))], 1
    passes = config.judge.training.epochs * sizes.images
    yield "judge", [(passes, workloads.classifier_training_step(config.judge, sizes.images))], 1
    for asset in dict.fromkeys(asset for method in used for asset in method.assets):
        network = asset.classifier(assets)
        step = workloads.classifier_training_step(network, sizes.images)
        yield asset.name, [(network.training.epochs * sizes.images, step)], 1
    units = real_image_units(growth)
    if units:
        yield "real images", [(sizes.images, workloads.classified_batch(config.reference))], len(units)
    trained: Parts = []
    tried: Parts = []
    adaptive = False
    kept: Counter[Recipe] = Counter()
    for increment in range(1, config.stages.increments + 1):
        count, images = len(learner_units(growth, increment)), (increment - 1) * each
        if count:
            step = workloads.classifier_training_step(config.learner, images)
            trained.append((count * config.learner.training.epochs * images, step))
        recipe = growth.recipe(increment)
        fresh, calibrated = fresh_units(growth, increment), calibration_units(growth, increment)
        adaptive |= bool(fresh)
        if fresh or calibrated:
            classes = some_classes(sizes.classes)
            images = (len(fresh) + len(calibrated)) * len(classes) * images_per_class(classes)
            tried += workloads.sampling(method_named(recipe.method), recipe, images)
        kept[recipe] += each
    upto = "up to " if adaptive else ""
    yield upto + "learners", trained, config.stages.learners
    yield "calibration and fresh candidates", tried, CALIBRATED_STRENGTHS
    sampled = [part for recipe, images in kept.items() for part in workloads.candidates(recipe, images)]
    yield upto + "images", sampled, len(sampling_units(growth, 1))
    cells = Counter(
        (cell.kind, cell.architecture, cell.increment) for cell in cells_of(config.evaluation, config.stages)
    )
    evaluated: Parts = []
    for (kind, architecture, increment), count in cells.items():
        images = each if kind == "redundancy" else increment * each
        network = network_for(config.evaluation, architecture, images // sizes.classes, sizes.shape, sizes.classes)
        step = workloads.classifier_training_step(network, images)
        evaluated.append((count * network.training.epochs * images, step))
        if kind == "accuracy":
            test = workloads.classified_batch(replace(config.evaluation.classifier, architecture=architecture))
            evaluated.append((count * config.evaluation.evaluations * sizes.test, test))
    yield upto + "evaluation", evaluated, cells.total()


def table(found: Plan, sizes: Sizes, rates: Rates) -> str:
    lines = [
        f"{sizes.classes} classes, {sizes.images} training and {sizes.test} test images of {sizes.shape}",
        f"rates: {rates.float32 / 1e12:.2f} TFLOP/s in float32, {rates.bfloat16 / 1e12:.2f} in bfloat16",
        "",
    ]
    rows = []
    for p in found.phases:
        source = "trials" if p.tried else "operations"
        rows.append([p.name, clock(p.wall), str(p.workers), f"{p.bytes / 2**20:.0f} MiB", source])
    upto = "up to " if any(p.name.startswith("up to ") for p in found.phases) else ""
    rows.append(["all", upto + clock(found.seconds), "", f"{found.peak / 2**20:.0f} MiB with the process itself", ""])
    header = ["phase", "time", "workers", "memory at work", "from"]
    caption = (
        "Time passes on the clock with these workers; memory is that of tensors in one process. Estimates from"
        " operations alone are rough: lgd bench --json and --rates make them better."
    )
    return "\n".join([*lines, explained(Table("plan", caption, header, rows))])


def clock(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
