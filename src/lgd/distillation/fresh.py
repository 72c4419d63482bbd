"""Sample a few fresh images as an increment's method would, to measure guidance or the learner before the increment."""

from __future__ import annotations

from dataclasses import replace

import torch

from lgd.config import GuidanceConfig
from lgd.data.imageset import ImageSet
from lgd.rng import derive_seed

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
    stages = replace(recipe.stages, candidates=1, coverage="none", images_per_increment=-(-PLACES // len(classes)))
    own = replace(recipe, seed=derive_seed(recipe.seed, purpose), guidance=guidance, stages=stages)
    found = method_named(recipe.method).sample(Resources(replace(growth, seed=own, later=own), increment, classes))
    labels = torch.tensor([image.label for image in found])
    images = ImageSet(torch.stack([image.image for image in found]), labels, growth.class_names)
    return images, [image.candidates[image.chosen] for image in found]


def some_classes(count: int) -> range:
    """Return all labels of `count` classes, or about `PLACES` of them at even distances."""
    return range(0, count, -(-count // PLACES))
