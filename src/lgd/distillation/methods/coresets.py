"""Real images: one order of each class, of which increment i takes the i-th n, so that no image comes twice."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lgd.classifiers.architectures import features_of
from lgd.distillation.resources import Resources
from lgd.distillation.store import Candidate, SelectedImage
from lgd.rng import generator as rng

Order = Callable[[Resources, int, int], Tensor]
"""(resources, label, count) to the first `count` images of a class, as positions among its images; prefixes agree."""


def draw_real(resources: Resources, order: Order) -> list[SelectedImage]:
    """The i-th slice of each class's order, n images long."""
    n = resources.config.stages.images_per_increment
    end = resources.increment * n
    drawn = []
    for label in resources.classes:
        drawn += real_images(resources, label, order(resources, label, end)[end - n : end])
    return drawn


def real_images(resources: Resources, label: int, positions: Tensor) -> list[SelectedImage]:
    """Images by their positions in their class. No latents: stages encodes them where somebody looks back."""
    train = resources.splits.train
    sources = train.indices_of(label)[positions]
    return [
        SelectedImage(label, slot, image, None, (Candidate(None),), source=source)
        for slot, (image, source) in enumerate(zip(train.pixels(sources), sources.tolist(), strict=True))
    ]


def select_random(resources: Resources) -> list[SelectedImage]:
    return draw_real(resources, random_order)


def select_herding(resources: Resources) -> list[SelectedImage]:
    return draw_real(resources, herding_order)


def select_k_center(resources: Resources) -> list[SelectedImage]:
    return draw_real(resources, k_center_order)


def select_full(resources: Resources) -> list[SelectedImage]:
    """Every real image of the classes."""
    drawn = []
    for label in resources.classes:
        drawn += real_images(resources, label, torch.arange(len(resources.splits.train.indices_of(label))))
    return drawn


def random_order(resources: Resources, label: int, count: int) -> Tensor:
    """SelectedImage with the run's seed and the class's name."""
    train = resources.splits.train
    members = train.indices_of(label)
    draw = rng(resources.config.seed, "random", train.class_names[label])
    return torch.randperm(len(members), generator=draw)[:count]


def herding_order(resources: Resources, label: int, count: int) -> Tensor:
    return herding(class_features(resources, label), count)


def k_center_order(resources: Resources, label: int, count: int) -> Tensor:
    """Starts at an image drawn with the run's seed."""
    name = resources.splits.train.class_names[label]
    features = class_features(resources, label)
    start = torch.randint(len(features), (), generator=rng(resources.config.seed, "k-center", name))
    return k_center(features, count, int(start))


def class_features(resources: Resources, label: int) -> Tensor:
    """The reference's features of a class's images, (N, D), double."""
    train = resources.splits.train
    return features_of(resources.reference, train.subset(train.indices_of(label))).double()


def herding(features: Tensor, count: int) -> Tensor:
    """Greedy order in which the mean of the first k stays nearest to the mean of all (Welling, 2009), (count,).

    features: (N, D), count at most N. Each step takes the image that brings the mean of those taken nearest; the first
    wins a tie.
    """
    mean, total = features.mean(0), torch.zeros_like(features[0])
    left = torch.ones(len(features), dtype=torch.bool)
    order = []
    for k in range(1, count + 1):
        distance = (features + (total - k * mean)).norm(dim=1)  # k times || mean of the first k - mean of all ||
        best = int(distance.where(left, torch.inf).argmin())
        left[best] = False
        total = total + features[best]
        order.append(best)
    return torch.tensor(order, dtype=torch.long)


def k_center(features: Tensor, count: int, start: int) -> Tensor:
    """Farthest-first traversal (Gonzalez, 1985; Sener and Savarese, 2018), (count,).

    features: (N, D), count at most N. Each step takes the image farthest from its nearest taken one, which is a
    2-approximation of the best k centers; the first wins a tie.
    """
    order = [start]
    distance = torch.full((len(features),), torch.inf, dtype=features.dtype)
    while len(order) < count:
        distance = distance.minimum((features - features[order[-1]]).norm(dim=1))
        distance[order[-1]] = -1  # below the zero of a duplicate that is still free
        order.append(int(distance.argmax()))
    return torch.tensor(order[:count], dtype=torch.long)
