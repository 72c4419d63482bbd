"""Fit the automatic settings into a budget of minutes: measure this machine, validate augmentation, choose numbers.

The numbers are kept in `budget.json` of the output directory, so that a command that goes on keeps them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from time import monotonic
from typing import Any

from lgd.classifiers.train import accuracy, train_classifier
from lgd.config import Config, with_values
from lgd.data.datasets import Survey
from lgd.data.imageset import ImageSet, Splits, stratified_split
from lgd.distillation.methods import method_named, with_method
from lgd.errors import UserError
from lgd.execution.hardware import computes_in_bfloat16, cpu_threads
from lgd.profiling.sizes import sizes_of
from lgd.profiling.speed import Speed, measure_speed, phases_at
from lgd.progress import log
from lgd.storage.files import read_json, write_json

from .auto import patch_for, settings_for
from .auto_method import SYNTHETIC
from .resolve import Experiment

FILE = "budget.json"
OVERHEAD = 20.0
"""seconds of starting worker processes, saving, figures and checks"""
VALIDATION_SHARE = 0.08
"""of the budget, to decide about random crops and flips"""
STAGES_SHARE = 0.3
"""of the budget: learners, sampling and evaluation together"""
NETWORK_SHARES = {"reference": 0.15, "judge": 0.1}
"""of the budget; the generator has the rest"""
STAGES = ("learners", "images", "evaluation")
LEVELS = ((1.0, 3, 2, 3), (0.6, 3, 1, 3), (0.4, 2, 1, 3), (0.25, 2, 1, 2), (0.15, 1, 1, 2))
"""factor on the epochs of learners and evaluation, evaluation.seeds, evaluation.redundancy_seeds, stages.candidates"""
MOST_EPOCHS, MOST_STEPS = 60, 20_000
FEW_PATCHES = 5
"""patches along a side of the smaller generator's input"""
VALIDATION_EPOCHS = 6
"""least epochs of a short training; its images are fewer where the time does not suffice for all"""
LEAST_STEPS = 1000
"""optimiser steps below which a smaller generator is chosen"""
RECOGNISED_FROM = 0.6
"""accuracy in the short validation from which a generator of minutes showed its classes (benchmarks/budget.md)"""
TRAININGS = ("reference", "judge", "learner", "evaluation.classifier", "influence.surrogate.classifier")


@dataclass(frozen=True)
class Augmentation:
    """The outcome of the short validation."""

    crops: bool
    flips: bool
    accuracy: float
    """share of the held-out images, with the chosen augmentation"""


def within_budget(base: Experiment, root: Path | None, sets: int = 1) -> Experiment:
    """Return the experiment with numbers that fit `config.minutes`, which becomes 0; a field that was set stays.

    root: output directory, whose numbers are kept when there are any; None: nothing is kept. sets: how many are made
    with the generator and the reference; 0: the generator alone is trained. Errors: UserError for a
    directory that was begun with another budget.
    """
    config, path = base.config, root and root / FILE
    if not config.minutes or config.generator.source:
        return replace(base, config=replace(config, minutes=0.0))
    if path and path.exists():
        record = read_json(path)
        if record["minutes"] != config.minutes:
            raise UserError(
                f"{root} was begun with --minutes {record['minutes']:g}, not {config.minutes:g}; choose another --out,"
                " or --overwrite to start anew"
            )
    else:
        record = fit(config, base.splits, base.device, sets)
        if path:
            write_json(path, record)
    plain = automatic(config, base.splits)
    values = {
        name: value for name, value in record["settings"].items() if attrgetter(name)(config) == attrgetter(name)(plain)
    }
    return replace(base, config=replace(with_values(config, values), minutes=0.0))


def automatic(config: Config, splits: Splits) -> Config:
    """Return the settings before a budget: a field that differs from them was set by the user."""
    train, names = splits.train, splits.train.class_names
    smallest = int(train.labels.bincount(minlength=len(names)).min())
    found = Survey(config.dataset, len(train), len(splits.test), names, smallest)
    return settings_for(found, computes_in_bfloat16())


def fit(config: Config, splits: Splits, device: str, sets: int) -> dict[str, Any]:
    """Measure, validate and choose; returns the record of it with `settings` by field."""
    begun, budget = monotonic(), 60 * config.minutes
    sizes = sizes_of(config, 0, 0, 0)
    config = with_method(config, SYNTHETIC[0] if config.method == "auto" else config.method)
    speed = measure_speed(config, sizes, device)
    training = replace(config.reference.training, precision=speed.precision)
    config = replace(config, reference=replace(config.reference, training=training))
    chosen = augmentation(splits.train, config, VALIDATION_SHARE * budget / speed.classifier, device)
    settings: dict[str, Any] = {"generator.flip": chosen.flips, "generator.threads": speed.threads}
    for part in TRAININGS:
        padding = attrgetter(part)(config).training.crop_padding if chosen.crops else 0
        settings[f"{part}.training.precision"] = speed.precision
        settings[f"{part}.training.crop_padding"] = padding
        settings[f"{part}.training.flip"] = chosen.flips
    left = budget - OVERHEAD - (monotonic() - begun)

    def phases(values: dict[str, Any], at: Speed) -> dict[str, float]:
        found = phases_at(with_values(config, values), sizes, at, device)
        found |= {name: sets * found[name] for name in STAGES}
        return found if sets else {"generator": found["generator"], **dict.fromkeys(STAGES, 0.0)}

    numbers = numbers_for(left, lambda values: phases(values, speed), config)
    if numbers.get("generator.steps", LEAST_STEPS) < LEAST_STEPS and not config.generator.autoencoder:
        smaller = {"generator.blocks": 3, "generator.heads": 3}
        smaller["generator.patch_size"] = patch_for(sizes.shape[1], FEW_PATCHES)
        at = measure_speed(with_values(config, smaller), sizes, device)
        left = budget - OVERHEAD - (monotonic() - begun)
        numbers = smaller | numbers_for(left, lambda values: phases({**smaller, **values}, at), config)
        speed = at
    settings |= numbers
    expected = phases(settings, speed)
    tell(with_values(config, settings), chosen, speed, sum(expected.values()) + budget - left)
    return {
        "minutes": config.minutes,
        "speed": vars(speed),
        "validation": vars(chosen),
        "expected_seconds": {name: round(value, 1) for name, value in expected.items()},
        "settings": settings,
    }


def numbers_for(left: float, phases: Any, config: Config) -> dict[str, Any]:
    """Choose the amounts of work for `left` seconds. phases: returns seconds by phase for values of fields."""
    sampled = "generator" in phases({})
    share = STAGES_SHARE if sampled else 0.5
    values: dict[str, Any] = {}
    for factor, seeds, redundancy, candidates in LEVELS:
        values = {
            "learner.training.epochs": max(5, round(factor * config.learner.training.epochs)),
            "evaluation.classifier.training.epochs": max(
                5, round(factor * config.evaluation.classifier.training.epochs)
            ),
            "evaluation.seeds": seeds,
            "evaluation.redundancy_seeds": redundancy,
            "stages.candidates": candidates,
        }
        found = phases(values)
        if sum(found[name] for name in STAGES) <= share * left:
            break
    rest = left - sum(found[name] for name in found if name not in ("generator", *NETWORK_SHARES))
    for name, share in NETWORK_SHARES.items():
        if epoch := phases({f"{name}.training.epochs": 1}).get(name):
            wanted = (share * left if sampled else rest / len(NETWORK_SHARES)) / epoch
            values[f"{name}.training.epochs"] = max(2, min(MOST_EPOCHS, int(wanted)))
    found = phases(values)
    rest -= sum(found.get(name, 0.0) for name in NETWORK_SHARES)
    if sampled:
        steps = rest / phases({"generator.steps": 1})["generator"]
        values["generator.steps"] = max(100, min(MOST_STEPS, int(steps)))
    return values


def augmentation(train: ImageSet, config: Config, images: float, device: str) -> Augmentation:
    """Decide about random crops and flips by three short trainings of the reference on a part of the training images.

    images: how many images the trainings may see together. Crops, and then flips, are kept unless the accuracy on
    held-out images falls by more than its standard error: they pay in longer trainings only.
    """
    part, held = stratified_split(train, 0.2, 0)
    each = images / 3
    part, held = first(part, max(50, int(each / VALIDATION_EPOCHS))).to(device), first(held, 1000).to(device)
    epochs = max(1, min(config.reference.training.epochs, int(each / len(part))))

    def reached(padding: int, flip: bool) -> float:
        training = replace(config.reference.training, epochs=epochs, crop_padding=padding, flip=flip)
        return accuracy(train_classifier(part, replace(config.reference, training=training), 0), held) / 100

    with cpu_threads(1):
        padding = config.reference.training.crop_padding
        plain, cropped = reached(0, False), reached(padding, False)
        crops = no_worse(cropped, plain, len(held))
        before = cropped if crops else plain
        flipped = reached(padding if crops else 0, True)
    flips = no_worse(flipped, before, len(held))
    return Augmentation(crops, flips, flipped if flips else before)


def no_worse(new: float, old: float, count: int) -> bool:
    """Return whether an accuracy on `count` images is at least another less its standard error."""
    return new >= old - (old * (1 - old) / count) ** 0.5


def first(images: ImageSet, most: int) -> ImageSet:
    """Return `most` images, spread evenly over the set."""
    count = min(most, len(images))
    return images.subset([index * len(images) // count for index in range(count)])


def tell(config: Config, chosen: Augmentation, speed: Speed, seconds: float) -> None:
    """Say what the budget buys, before the work begins."""
    own, training = config.generator, config.reference.training
    sampled = method_named(config.method).needs_generator
    size = f"{own.blocks} blocks of width {own.heads * own.head_width}, patch {own.patch_size}"
    step = f"{own.steps} steps of {1000 * speed.generator:.0f} ms"
    generator = f"generator {size}, {step}; " if sampled else ""
    log.info(
        f"budget {config.minutes:g} minutes, {seconds / 60:.1f} expected: {generator}classifiers in {speed.precision},"
        f" {'random' if chosen.crops else 'no'} crops, {'' if chosen.flips else 'no '}flips (a short validation of the"
        f" reference reached {100 * chosen.accuracy:.0f} %); reference {training.epochs} epochs, learners"
        f" {config.learner.training.epochs}; {config.evaluation.seeds} evaluations. Each is an option"
    )
    if sampled and chosen.accuracy < RECOGNISED_FROM:
        log.info(
            "warning: these images are hard: in this budget a new generator is not expected to show their classes"
            " (benchmarks/budget.md). --method auto chooses real images and needs none; or name a trained"
            " --generator.source, or give more --minutes"
        )
