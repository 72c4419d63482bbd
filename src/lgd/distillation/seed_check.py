"""Warn when the reference does not recognise the seed set."""

from __future__ import annotations

from lgd.classifiers.architectures import predict
from lgd.classifiers.train import load_classifier
from lgd.data.splits import cached_splits

from .methods import method_named
from .recipe import Growth
from .store import read_increment

LEAST_RECOGNISED = 0.5
"""share of the seed set that the reference must recognise"""


def seed_set_warning(growth: Growth) -> str:
    """Return a warning when the reference recognises less than half of the generated seed set, else an empty string.

    The images of a generator that was trained too briefly pass all later stages without an error.
    """
    if not method_named(growth.seed.method).needs_generator:
        return ""
    assets, folder = growth.assets, growth.run.increment(1)
    train = cached_splits(assets.dataset).train
    reference = load_classifier(assets.reference_file, assets.reference, train, assets.device)
    images = read_increment(folder, growth.class_names)
    recognised = int(predict(reference, images).argmax(1).eq(images.labels).sum())
    if recognised >= LEAST_RECOGNISED * len(images):
        return ""
    chance = len(images) / len(growth.class_names)
    longer = "" if assets.generator.source else ", one trained for longer (generator.steps)"
    return (
        f"warning: the reference recognises only {recognised} of the {len(images)} generated images of increment 1"
        f" (guessing: {chance:.0f}), so the generator does not show the classes and the set will teach little. Look at"
        f" {folder}. Use another generator (generator.source){longer}, or --method herding, which selects real images"
    )
