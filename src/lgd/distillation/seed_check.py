"""What a person should hear after the seed set, before they wait for everything that is steered from it."""

from __future__ import annotations

from pathlib import Path

from lgd.classifiers.architectures import predict
from lgd.classifiers.train import load_classifier
from lgd.config import Config
from lgd.data.splits import cached_splits
from lgd.execution.hardware import resolve_device

from .methods import method_named
from .stages import seed_method
from .store import Run, read_increment

ENOUGH = 0.5
"""share of the seed set that the reference recognises, below which the generator is doubted"""


def check_seed_set(config: Config, run: Run, assets: Path) -> str:
    """What is wrong with the first increment, or nothing: the reference takes most of its images for other classes.

    A generator that was trained too briefly makes images that run through all later stages without an error.
    """
    if not method_named(seed_method(config)).needs_generator:
        return ""
    train = cached_splits(config.dataset).train
    device = resolve_device(config.compute.device)
    reference = load_classifier(assets / "reference.safetensors", config.reference, train, device)
    images = read_increment(run.increment(1), train.class_names)
    recognised = int(predict(reference, images).argmax(1).eq(images.labels).sum())
    if recognised >= ENOUGH * len(images):
        return ""
    chance = len(images) / len(train.class_names)
    longer = "" if config.generator.source else ", one trained for longer (generator.steps)"
    return (
        f"warning: the reference recognises {recognised} of the {len(images)} generated images of increment 1, where"
        f" guessing has {chance:.0f}: this generator does not show the classes, and the set will teach little. Look at"
        f" {run.increment(1)}. What may help: another generator (generator.source){longer}, or --method herding, which"
        " picks real images"
    )
