"""Warn when the judge does not recognise the seed set."""

from __future__ import annotations

from lgd.classifiers.train import accuracy
from lgd.data.splits import cached_splits

from .judge import load_judge
from .methods import method_named
from .recipe import Growth
from .store import read_increment

LEAST_RECOGNISED = 0.5
"""share of the way from guessing to the judge's accuracy on real test images"""


def shows_classes(found: float, real: float, classes: int) -> bool:
    """Return whether the judge's accuracy on generated images is nearer to that on real ones than to guessing, in %."""
    chance = 100 / classes
    return found >= chance + LEAST_RECOGNISED * (real - chance)


def seed_set_warning(growth: Growth) -> str:
    """Return a warning when the judge's accuracy on the generated seed set is nearer to guessing than to real images'.

    Else return an empty string. The images of a generator that was trained too briefly pass all later stages without an
    error.
    """
    if not method_named(growth.seed.method).needs_generator:
        return ""
    assets, folder = growth.assets, growth.run.increment(1)
    judge, images = load_judge(assets), read_increment(folder, growth.class_names)
    found, real = accuracy(judge, images), accuracy(judge, cached_splits(assets.dataset).test)
    classes = len(growth.class_names)
    if shows_classes(found, real, classes):
        return ""
    longer = "" if assets.generator.source else ", one trained for longer (generator.steps)"
    return (
        f"warning: the judge recognises only {found:.1f} % of the {len(images)} generated images of increment 1, and"
        f" {real:.1f} % of real test images (guessing: {100 / classes:.1f} %), so the generator does not show the"
        f" classes and the set will teach little. Look at {folder}. Use another generator (generator.source){longer},"
        " or --method herding, which selects real images"
    )
