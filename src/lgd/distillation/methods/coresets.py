"""Orders of the real images of a class. A larger count only adds to the end, but for k-means.

Orders in the reference's features are units of work, made once per class and kept with the assets:
ASSETS/real/herding-0-50/0003.safetensors
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lgd.distillation.coverage import cover, mean_distance
from lgd.distillation.recipe import Growth
from lgd.distillation.resources import Resources
from lgd.execution.units import Unit
from lgd.guidance.modes import find_modes
from lgd.rng import derive_seed
from lgd.rng import generator as rng
from lgd.storage.files import load_tensors, save_tensors


@dataclass(frozen=True)
class Order:
    """A way to order the images of a class."""

    first: Callable[[Resources, int, int], Tensor]
    """takes (resources, label, count); returns the first images, as positions among those of the class"""
    kept: bool = False
    """whether it is worth keeping on disk"""
    seeded: bool = False
    """whether it depends on the run's seed"""


def random_order(resources: Resources, label: int, count: int) -> Tensor:
    """Order a class at random, seeded by the run's seed and the class's name."""
    train = resources.splits.train
    members = train.indices_of(label)
    draw = rng(resources.config.seed, "random", train.class_names[label])
    return torch.randperm(len(members), generator=draw)[:count]


def herding_order(resources: Resources, label: int, count: int) -> Tensor:
    return herding(class_features(resources, label), count)


def k_center_order(resources: Resources, label: int, count: int) -> Tensor:
    """Order a class by `k_center`, from an image chosen with the run's seed."""
    name = resources.splits.train.class_names[label]
    features = class_features(resources, label)
    start = torch.randint(len(features), (), generator=rng(resources.config.seed, "k-center", name))
    return k_center(features, count, int(start))


def k_means_order(resources: Resources, label: int, count: int) -> Tensor:
    """Order a class by `prototypes` of as many clusters, seeded by the run's seed."""
    features = class_features(resources, label)
    seed = derive_seed(resources.config.seed, "k-means", resources.splits.train.class_names[label])
    return prototypes(features, find_modes(features[:, :, None, None], count, seed).flatten(1))


ORDERS = {
    "random": Order(random_order, seeded=True),
    "herding": Order(herding_order, kept=True),
    "k-center": Order(k_center_order, kept=True, seeded=True),
    "k-means": Order(k_means_order, kept=True, seeded=True),
}


def class_order(resources: Resources, name: str, label: int, count: int) -> Tensor:
    """Return the first `count` images of a class in an order, as positions among its images, or all where it has fewer.

    `order_units` of the same count must have been run.
    """
    if not ORDERS[name].kept:
        return ORDERS[name].first(resources, label, count)
    return load_tensors(order_file(resources.growth, name, count, label), ["order"])["order"]


def order_file(growth: Growth, name: str, count: int, label: int) -> Path:
    seed = growth.later.seed if ORDERS[name].seeded else 0
    return growth.assets.real_folder / f"{name}-{seed}-{count}" / f"{label:04d}.safetensors"


def order_units(growth: Growth, name: str, count: int) -> list[Unit]:
    """Return one unit per class that makes the first `count` images of an order; none where it is not kept."""
    if not ORDERS[name].kept:
        return []
    return class_units(growth, name, make_order, (name, count), partial(order_file, growth, name, count))


def class_units(
    growth: Growth, what: str, work: Callable[..., None], arguments: tuple[Any, ...], file: Callable[[int], Path]
) -> list[Unit]:
    """Return one unit per class, which calls work(growth, label, done, *arguments) to write `done`, its `file`."""
    return [
        Unit(f"{what}, class {label}", work, (growth, label, file(label), *arguments), file(label))
        for label in range(len(growth.class_names))
    ]


def make_order(growth: Growth, label: int, done: Path, name: str, count: int) -> None:
    """Order a class and write its first `count` images, or all where it has fewer."""
    resources = Resources(growth, 1, range(label, label + 1))
    held = len(resources.splits.train.indices_of(label))
    save_tensors(done, {"order": ORDERS[name].first(resources, label, min(count, held))})


def class_features(resources: Resources, label: int) -> Tensor:
    """Return the reference's features of a class's images, (N, D), in float64."""
    return resources.real_outputs(label)[0].double()


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


def prototypes(features: Tensor, centres: Tensor) -> Tensor:
    """Return, for each centre (count, D) in turn, the nearest image of (N, D) that no earlier centre took, (count,)."""
    distances = torch.cdist(centres, features)
    order = []
    for row in distances:
        order.append(int(row.argmin()))
        distances[:, order[-1]] = torch.inf
    return torch.tensor(order, dtype=torch.long)
