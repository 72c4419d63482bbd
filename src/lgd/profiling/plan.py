"""What a run will take, before it starts: time and memory by phase, from short trials or from counted operations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from torch._subclasses.fake_tensor import FakeTensorMode

from lgd.config import Config
from lgd.distillation.layout import Run
from lgd.distillation.methods import growth_of, method_named, methods_used
from lgd.distillation.recipe import assets_of
from lgd.distillation.stages import learner_units, sampling_units
from lgd.evaluation.protocols import training_for
from lgd.evaluation.schedule import cells_of
from lgd.execution.hardware import cpu_threads, resolve_device, worker_count

from .counting import count
from .measure import timed
from .sizes import Sizes
from .workloads import Workload, Workloads

Parts = list[tuple[float, Workload]]
"""how many items of which work"""

LONGEST_TRIAL = 2e12
"""operations; what is more is not tried but reckoned"""


@dataclass(frozen=True)
class Phase:
    """A part of a run."""

    name: str
    seconds: float
    """of all its work on one core, or on the one device"""
    workers: int
    """that share it"""
    bytes: int
    """of tensors alive at once in one process, weights included; what the process itself takes is not in it"""
    tried: bool
    """whether the seconds come from trials, and not from operations alone"""

    @property
    def wall(self) -> float:
        return self.seconds / self.workers


@dataclass(frozen=True)
class Plan:
    """Of a whole run."""

    phases: list[Phase]
    process: int
    """bytes of a process with its libraries and the images, but nothing at work"""

    @property
    def seconds(self) -> float:
        return sum(phase.wall for phase in self.phases)

    @property
    def peak(self) -> int:
        """Bytes of the largest process."""
        return self.process + max(phase.bytes for phase in self.phases)


@dataclass(frozen=True)
class Rates:
    """What the device reaches, in operations per second."""

    float32: float
    bfloat16: float


def plan(config: Config, sizes: Sizes, rates: Rates, fake: bool) -> Plan:
    """fake: nothing is computed; for networks that are not here, or too large for this machine."""
    works = Workloads(config, sizes, "cpu" if fake else resolve_device(config.compute.device))
    process = resident() + (0 if sizes.loaded else sizes.bytes)
    workers = worker_count(config.compute)

    def assess(work: Workload) -> tuple[float, int, bool]:
        """Seconds per item, and bytes of one call."""
        with FakeTensorMode(allow_non_fake_inputs=True) if fake else nullcontext():
            function, networks = work.build()
            flops, most = count(function, networks)
        peak = rates.bfloat16 if work.half else rates.float32
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
        phases = [phase(name, parts, shared) for name, parts, shared in schedule(config, sizes, works)]
    return Plan([found for found in phases if found is not None], process)


def schedule(config: Config, sizes: Sizes, works: Workloads) -> Iterator[tuple[str, Parts, int]]:
    """Yield each phase of a run: its name, its work, and into how many units it falls that workers may share.

    The units come from the code that a run takes them from.
    """
    own, used = config.generator, methods_used(config)
    assets = assets_of(config, Path(), works.device)
    names = tuple(map(str, range(sizes.classes)))
    growth = growth_of(config, Run(Path()), assets, names)
    each = config.stages.images_per_increment * sizes.classes  # images per increment
    if any(method.needs_generator for method in used) and (not own.source or own.tune != "none"):
        yield "generator", [(own.steps, works.generator_step())], 1
    epochs = 0 if config.reference.weights else config.reference.training.epochs
    yield "reference", [(epochs * sizes.images, works.training(config.reference, sizes.images))], 1
    for name in dict.fromkeys(asset.name for method in used for asset in method.assets):
        surrogate = config.influence.surrogate.classifier
        yield name, [(surrogate.training.epochs * sizes.images, works.training(surrogate, sizes.images))], 1
    trained: Parts = []
    kept: Counter[str] = Counter()
    for increment in range(1, config.stages.increments + 1):
        count, images = len(learner_units(growth, increment)), (increment - 1) * each
        if count:
            trained.append((count * config.learner.training.epochs * images, works.training(config.learner, images)))
        method = growth.recipe(increment).method
        kept[method] += each if method_named(method).needs_generator else 0
    yield "learners", trained, config.stages.learners
    sampled = [part for method, images in kept.items() if images for part in works.images(method, images)]
    yield "images", sampled, len(sampling_units(growth, 1))
    cells = Counter(
        (cell.kind, cell.architecture, cell.increment) for cell in cells_of(config.evaluation, config.stages)
    )
    evaluated: Parts = []
    for (kind, architecture, increment), count in cells.items():
        images = each if kind == "redundancy" else increment * each
        epochs = training_for(config.evaluation, images // sizes.classes, sizes.shape, sizes.classes).epochs
        evaluated.append((count * epochs * images, works.evaluating(architecture, images)))
        if kind == "accuracy":
            evaluated.append((count * config.evaluation.evaluations * sizes.test, works.testing(architecture)))
    yield "evaluation", evaluated, cells.total()


def resident() -> int:
    """Bytes of memory that this process holds."""
    try:
        with open("/proc/self/status") as file:  # noqa: PTH123
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS"))
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def table(found: Plan, sizes: Sizes, rates: Rates) -> str:
    """What a person wants to see."""
    lines = [
        f"{sizes.classes} classes, {sizes.images} training and {sizes.test} test images of {sizes.shape}",
        f"rates: {rates.float32 / 1e12:.2f} TFLOP/s in float32, {rates.bfloat16 / 1e12:.2f} in bfloat16",
        "",
        "| phase | time | workers | memory at work | from |",
        "|---|---:|---:|---:|---|",
    ]
    for p in found.phases:
        source = "trials" if p.tried else "operations"
        lines.append(f"| {p.name} | {clock(p.wall)} | {p.workers} | {p.bytes / 2**20:.0f} MiB | {source} |")
    lines += [
        f"| all | {clock(found.seconds)} | | {found.peak / 2**20:.0f} MiB with the process itself | |",
        "",
    ]
    return "\n".join(lines)


def clock(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
