"""Methods that select real images: each orders a class once, and increment i takes the i-th n, so none comes twice."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from lgd.classifiers.architectures import features_of
from lgd.distillation.coverage import cover, mean_distance
from lgd.distillation.resources import Resources
from lgd.distillation.store import Candidate, SelectedImage
from lgd.rng import generator as rng

Order = Callable[[Resources, int, int], Tensor]
"""Takes (resources, label, count); returns the first `count` images of a class, as positions among its images.

A larger count only adds to the end."""


def select_by(resources: Resources, order: Order) -> list[SelectedImage]:
    """Return the i-th n images of each class's order, for increment i of n images per class."""
    n = resources.config.stages.images_per_increment
    end = resources.increment * n
    selected = []
    for label in resources.classes:
        selected += real_images(resources, label, order(resources, label, end)[end - n : end])
    return selected


def real_images(resources: Resources, label: int, positions: Tensor) -> list[SelectedImage]:
    """Return images by their positions in their class, without latents; stages.py adds those where they are needed."""
    train = resources.splits.train
    sources = train.indices_of(label)[positions]
    return [
        SelectedImage(label, slot, image, None, (Candidate(None),), source=source)
        for slot, (image, source) in enumerate(zip(train.pixels(sources), sources.tolist(), strict=True))
    ]


def select_random(resources: Resources) -> list[SelectedImage]:
    """Select images at random."""
    return select_by(resources, random_order)


def select_herding(resources: Resources) -> list[SelectedImage]:
    """Select images by herding on the reference's features."""
    return select_by(resources, herding_order)


def select_k_center(resources: Resources) -> list[SelectedImage]:
    """Select images by k-center on the reference's features."""
    return select_by(resources, k_center_order)


def select_full(resources: Resources) -> list[SelectedImage]:
    """Select every real image of the classes."""
    selected = []
    for label in resources.classes:
        selected += real_images(resources, label, torch.arange(len(resources.splits.train.indices_of(label))))
    return selected


def random_order(resources: Resources, label: int, count: int) -> Tensor:
    """Order a class at random, seeded by the run's seed and the class's name."""
    train = resources.splits.train
    members = train.indices_of(label)
    draw = rng(resources.config.seed, "random", train.class_names[label])
    return torch.randperm(len(members), generator=draw)[:count]


def herding_order(resources: Resources, label: int, count: int) -> Tensor:
    """Order a class by `herding`."""
    return herding(class_features(resources, label), count)


def k_center_order(resources: Resources, label: int, count: int) -> Tensor:
    """Order a class by `k_center`, from an image chosen with the run's seed."""
    name = resources.splits.train.class_names[label]
    features = class_features(resources, label)
    start = torch.randint(len(features), (), generator=rng(resources.config.seed, "k-center", name))
    return k_center(features, count, int(start))


def class_features(resources: Resources, label: int) -> Tensor:
    """Return the reference's features of a class's images, (N, D), in float64."""
    train = resources.splits.train
    return features_of(resources.reference, train.subset(train.indices_of(label))).double()


def herding(features: Tensor, count: int) -> Tensor:
    """Order images so that the mean of the first k stays close to the mean of all (Welling, 2009), (count,).

    features: (N, D), count at most N. Each step takes the image after which the mean of those taken is nearest to the
    mean of all; in a tie, the first.
    """
    distance = partial(mean_distance, features.mean(0))
    return torch.tensor(cover(features[:0], features, count, distance), dtype=torch.long)


def k_center(features: Tensor, count: int, start: int) -> Tensor:
    """Order images by farthest-first traversal (Gonzalez, 1985; Sener and Savarese, 2018), (count,).

    features: (N, D), count at most N. Each step takes the image farthest from its nearest taken one, which
    2-approximates the best k centers; in a tie, the first.
    """
    order = [start]
    distance = torch.full((len(features),), torch.inf, dtype=features.dtype)
    while len(order) < count:
        distance = distance.minimum((features - features[order[-1]]).norm(dim=1))
        distance[order[-1]] = -1  # below the zero of a duplicate that is still free
        order.append(int(distance.argmax()))
    return torch.tensor(order[:count], dtype=torch.long)
