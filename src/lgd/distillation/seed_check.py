"""Warn when the reference does not recognise the seed set."""

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

LEAST_RECOGNISED = 0.5
"""share of the seed set that the reference must recognise"""


def seed_set_warning(config: Config, run: Run, assets: Path) -> str:
    """Return a warning when the reference takes most images of increment 1 for other classes, else an empty string.

    The images of a generator that was trained too briefly pass all later stages without an error.
    """
    if not method_named(seed_method(config)).needs_generator:
        return ""
    train = cached_splits(config.dataset).train
    device = resolve_device(config.compute.device)
    reference = load_classifier(assets / "reference.safetensors", config.reference, train, device)
    images = read_increment(run.increment(1), train.class_names)
    recognised = int(predict(reference, images).argmax(1).eq(images.labels).sum())
    if recognised >= LEAST_RECOGNISED * len(images):
        return ""
    chance = len(images) / len(train.class_names)
    longer = "" if config.generator.source else ", one trained for longer (generator.steps)"
    return (
        f"warning: the reference recognises only {recognised} of the {len(images)} generated images of increment 1"
        f" (guessing: {chance:.0f}), so the generator does not show the classes and the set will teach little. Look at"
        f" {run.increment(1)}. Use another generator (generator.source){longer}, or --method herding, which selects"
        " real images"
    )
