"""Sample a few fresh images as an increment would, to measure guidance before it, or whether it is needed."""

from dataclasses import replace
from pathlib import Path
from statistics import fmean

import torch

from lgd.config import GuidanceConfig
from lgd.data.imageset import ImageSet
from lgd.execution.units import Unit
from lgd.rng import derive_seed
from lgd.storage.files import write_json

from .methods import method_named
from .recipe import Growth
from .resources import Resources
from .store import Candidate

PLACES = 60
"""least number of images where there are as few classes; of more classes, as many at even distances get one image"""


def fresh_images(
    growth: Growth, increment: int, guidance: GuidanceConfig, purpose: str
) -> tuple[ImageSet, list[Candidate]]:
    """Sample images of an increment's method with other guidance, one candidate each; returns them with their scores.

    The noise has seeds of its own, named by `purpose`, so that no image of the set is sampled again.
    """
    recipe, classes = growth.settled(increment), some_classes(len(growth.class_names))
    stages = replace(recipe.stages, candidates=1, coverage="none", images_per_increment=images_per_class(classes))
    own = replace(recipe, seed=derive_seed(recipe.seed, purpose), guidance=guidance, stages=stages)
    found = method_named(recipe.method).sample(Resources(replace(growth, seed=own, later=own), increment, classes))
    labels = torch.tensor([image.label for image in found])
    images = ImageSet(torch.stack([image.image for image in found]), labels, growth.class_names)
    return images, [image.candidates[image.chosen] for image in found]


def fresh_units(growth: Growth, increment: int) -> list[Unit]:
    """Return the unit that decides whether an increment with a learner is made, by the adaptive schedule."""
    recipe, done = growth.recipe(increment), growth.run.fresh(increment)
    if recipe.stages.schedule == "fixed" or not method_named(recipe.method).needs_learner:
        return []
    return [Unit(f"fresh candidates {increment}", measure_gap, (growth, increment, done), done)]


def measure_gap(growth: Growth, increment: int, done: Path) -> None:
    """Write the mean losses of learner and reference on fresh candidates, in nats, and whether the set ends."""
    recipe = growth.settled(increment)
    _, candidates = fresh_images(growth, increment, recipe.guidance, "fresh")
    learner, reference = (
        fmean(loss for candidate in candidates if (loss := getattr(candidate, name)) is not None)
        for name in ("learner_loss", "reference_loss")
    )
    ended = learner - reference <= recipe.stages.margin
    losses = {"learner_loss": learner, "reference_loss": reference, "images": len(candidates)}
    write_json(done, {**losses, "margin": recipe.stages.margin, "ended": ended})


def some_classes(count: int) -> range:
    """Return all labels of `count` classes, or about `PLACES` of them at even distances."""
    return range(0, count, -(-count // PLACES))


def images_per_class(classes: range) -> int:
    """Return the number of images of each class that together are at least `PLACES`, or one."""
    return -(-PLACES // len(classes))
