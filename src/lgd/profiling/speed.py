"""The speed of this machine at the work of a run, from trials of a few seconds; and the time of a run at that speed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from time import monotonic
from typing import Any, cast

from loky import cpu_count

from lgd.config import ClassifierConfig, Config, JudgeConfig, Precision
from lgd.execution.hardware import computes_in_bfloat16, cpu_threads, worker_count

from .measure import timed
from .plan import schedule
from .sizes import Sizes
from .workloads import Workload, Workloads

TRIAL_SECONDS = 0.7
"""longest time that one kind of work is tried"""


@dataclass(frozen=True)
class Speed:
    """Seconds of each kind of work."""

    generator: float
    """a step of the generator's training, with `threads`"""
    threads: int
    """with which the generator trains faster here: one beside other work, else one per core"""
    classifier: float
    """an image in a classifier's training, in `precision`"""
    judge: float
    """the same of the judge"""
    precision: Precision
    """in which classifiers train faster here"""
    unguided: float
    """a sampling step of an image without guidance"""
    guided: float
    """the same with guidance"""
    classified: float
    """an image that a classifier is tested on"""


@dataclass(frozen=True)
class Prices(Workloads):
    """The workloads of a configuration with seconds per item in place of work."""

    speed: Speed = field(kw_only=True)

    def generator_training_step(self) -> Any:
        return self.speed.generator

    def classifier_training_step(self, config: ClassifierConfig, images: int) -> Any:
        return self.speed.judge if isinstance(config, JudgeConfig) else self.speed.classifier

    def classified_batch(self, config: ClassifierConfig) -> Any:
        return self.speed.classified

    def sampling_step(self, batch: int, guidance: str | None) -> Any:
        return self.speed.guided if guidance else self.speed.unguided

    def decoding_batch(self, batch: int) -> Any:
        return 0.0  # of pixels


def measure_speed(config: Config, sizes: Sizes, device: str) -> Speed:
    """Try the work of a run of this configuration. Errors: UserError when a source's size is unknown."""
    workloads = Workloads(config, sizes, device)
    precisions: list[Precision] = ["float32", "bfloat16"] if computes_in_bfloat16(device) else ["float32"]
    found: dict[Precision, float] = {}
    steps: dict[int, float] = {}
    for threads in sorted({1, min(cpu_count(), config.generator.threads)}):
        with cpu_threads(threads):
            steps[threads] = seconds_of(workloads.generator_training_step())
    threads = min(steps, key=steps.__getitem__)
    with cpu_threads(1):
        for precision in precisions:
            found[precision] = seconds_of(training_step(workloads, config.reference, precision))
        best = min(found, key=found.__getitem__)
    begun = Speed(steps[threads], threads, found[best], 0.0, best, 0.0, 0.0, 0.0)
    return measure_again(begun, ("judge", "unguided", "guided", "classified"), config, sizes, device)


def measure_again(speed: Speed, names: Sequence[str], config: Config, sizes: Sizes, device: str) -> Speed:
    """Try some kinds of work, named as fields of `Speed`, anew. Errors: as `measure_speed`."""
    workloads = Workloads(config, sizes, device)
    images = min(config.stages.classes_per_unit, sizes.classes) * config.stages.candidates
    kinds: dict[str, Callable[[], Workload]] = {
        "generator": workloads.generator_training_step,
        "classifier": lambda: training_step(workloads, config.reference, speed.precision),
        "judge": lambda: training_step(workloads, config.judge, speed.precision),
        "unguided": lambda: workloads.sampling_step(images, None),
        "guided": lambda: workloads.sampling_step(images, "score"),
        "classified": lambda: workloads.classified_batch(config.evaluation.classifier),
    }
    found: dict[str, Any] = {}
    for name in names:
        with cpu_threads(speed.threads if name == "generator" else 1):
            found[name] = seconds_of(kinds[name]())
    return replace(speed, **found)


def training_step(workloads: Workloads, network: ClassifierConfig, precision: Precision) -> Workload:
    """Return a training step of a network in a precision, with the reference's batch size."""
    own = replace(network, training=replace(network.training, precision=precision))
    return workloads.classifier_training_step(own, workloads.config.reference.training.batch_size)


def seconds_of(work: Workload) -> float:
    """Return the seconds per item: the mean of as many calls as take a moment, after one to warm up."""
    function, _ = work.build()
    function()
    times, start = [timed(function)], monotonic()
    while monotonic() - start < TRIAL_SECONDS and len(times) < 9:
        times.append(timed(function))
    return fmean(times) / work.items


def phases_at(config: Config, sizes: Sizes, speed: Speed, device: str) -> dict[str, float]:
    workers = worker_count(config.compute)
    prices = Prices(config, sizes, device, speed=speed)
    return {
        name.removeprefix("up to "): sum(items * cast(float, seconds) for items, seconds in parts)
        / max(1, min(shared, workers))
        for name, parts, shared in schedule(config, sizes, prices)
    }
