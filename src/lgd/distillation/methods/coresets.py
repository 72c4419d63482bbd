"""Real images: one order of each class, of which increment i takes the i-th n, so that no image comes twice."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lgd.classifiers.architectures import features_of
from lgd.distillation.materials import Materials
from lgd.distillation.store import Candidate, Drawn
from lgd.rng import generator as rng

Order = Callable[[Materials, int, int], Tensor]
"""(materials, label, count) to the first `count` images of a class, as positions among its images; prefixes agree."""


def draw_real(materials: Materials, order: Order) -> list[Drawn]:
    """The i-th slice of each class's order, n images long."""
    n = materials.config.stages.images_per_increment
    end = materials.increment * n
    drawn = []
    for label in materials.classes:
        drawn += real_images(materials, label, order(materials, label, end)[end - n : end])
    return drawn


def real_images(materials: Materials, label: int, positions: Tensor) -> list[Drawn]:
    """Images by their positions in their class. No latents: stages encodes them where somebody looks back."""
    train = materials.splits.train
    sources = train.indices_of(label)[positions]
    return [
        Drawn(label, slot, image, None, (Candidate(None),), source=source)
        for slot, (image, source) in enumerate(zip(train.pixels(sources), sources.tolist(), strict=True))
    ]


def draw_random(materials: Materials) -> list[Drawn]:
    return draw_real(materials, random_order)


def draw_herding(materials: Materials) -> list[Drawn]:
    return draw_real(materials, herding_order)


def draw_k_center(materials: Materials) -> list[Drawn]:
    return draw_real(materials, k_center_order)


def draw_full(materials: Materials) -> list[Drawn]:
    """Every real image of the classes."""
    drawn = []
    for label in materials.classes:
        drawn += real_images(materials, label, torch.arange(len(materials.splits.train.indices_of(label))))
    return drawn


def random_order(materials: Materials, label: int, count: int) -> Tensor:
    """Drawn with the run's seed and the class's name."""
    train = materials.splits.train
    members = train.indices_of(label)
    draw = rng(materials.config.seed, "random", train.class_names[label])
    return torch.randperm(len(members), generator=draw)[:count]


def herding_order(materials: Materials, label: int, count: int) -> Tensor:
    return herding(class_features(materials, label), count)


def k_center_order(materials: Materials, label: int, count: int) -> Tensor:
    """Starts at an image drawn with the run's seed."""
    name = materials.splits.train.class_names[label]
    features = class_features(materials, label)
    start = torch.randint(len(features), (), generator=rng(materials.config.seed, "k-center", name))
    return k_center(features, count, int(start))


def class_features(materials: Materials, label: int) -> Tensor:
    """The reference's features of a class's images, (N, D), double."""
    train = materials.splits.train
    return features_of(materials.reference, train.subset(train.indices_of(label))).double()


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
