"""Say how much of the seed set the judge recognises."""

from lgd.classifiers.train import accuracy

from .judge import accuracy_on_test, load_judge
from .methods import method_named
from .recipe import Growth
from .store import read_increment

LEAST_RECOGNISED = 0.5
"""share of the way from guessing to the judge's accuracy on real test images"""


def shows_classes(found: float, real: float, classes: int) -> bool:
    """Return whether the judge's accuracy on generated images is nearer to that on real ones than to guessing, in %."""
    chance = 100 / classes
    return found >= chance + LEAST_RECOGNISED * (real - chance)


def seed_set_verdict(growth: Growth) -> str:
    """Return a sentence about the judge's accuracy on the generated seed set; empty where the seed set is real.

    It is a warning where the accuracy is nearer to guessing than to that on real images: the images of a generator that
    was trained too briefly pass all later stages without an error.
    """
    if not method_named(growth.seed.method).needs_generator:
        return ""
    assets, folder = growth.assets, growth.run.increment(1)
    judge, images = load_judge(assets), read_increment(folder, growth.class_names)
    found, real = accuracy(judge, images), accuracy_on_test(judge, assets.dataset)
    shares = (
        f"{found:.1f} % of the {len(images)} generated images of increment 1, and {real:.1f} % of real test images"
        f" (guessing: {100 / len(growth.class_names):.1f} %)"
    )
    if shows_classes(found, real, len(growth.class_names)):
        return f"the judge recognises {shares}"
    longer = "" if assets.generator.source else ", one trained for longer (generator.steps)"
    return (
        f"warning: the judge recognises only {shares}, so the generator does not show the classes and the set"
        f" will teach little. Look at {folder}. Use another generator (generator.source){longer}, or"
        " --method herding, which selects real images"
    )
