"""Set-level coverage: keep the candidates after which the whole set covers its class of real images best.

The features are those of `stages.coverage_network` (docs/method.md, "Coverage").
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from lgd.classifiers.architectures import Classifier, features_of
from lgd.data.imageset import to_float
from lgd.guidance.modes import find_modes
from lgd.rng import derive_seed
from lgd.storage.files import load_tensors, save_tensors

from .resources import Resources, in_batches
from .store import read_union

MOST_CENTRES = 50
"""largest number of k-means centres that stand for a real class"""
SMOOTHING = 0.05
"""weight of the entropy in Sinkhorn distances, in units of the real class's mean squared distance to its mean"""
SINKHORN_STEPS = 100


@dataclass(frozen=True)
class RealClass:
    """The features of a class's real images, summarised; float64."""

    mean: Tensor
    """(D,)"""
    centres: Tensor
    """centroids of k-means, (K, D)"""
    masses: Tensor
    """share of the images in each cluster, (K,)"""
    spread: Tensor
    """mean squared distance of an image to the mean, a scalar"""


Distance = Callable[[Tensor, Tensor], Tensor]
"""Takes features of a set (M, D) and of candidates (N, D); returns (N,): the distance of a real class to the set with
each candidate added, times any number that does not depend on the candidate."""


def mean_distance(mean: Tensor, kept: Tensor, candidates: Tensor) -> Tensor:
    """Measure the distance of the means, times M + 1: taking the least one by one is herding (Welling, 2009)."""
    return (candidates + (kept.sum(0) - (len(kept) + 1) * mean)).norm(dim=1)


def sinkhorn_distance(real: RealClass, kept: Tensor, candidates: Tensor) -> Tensor:
    """Measure the entropic optimal-transport cost (Cuturi, 2013) between the set, of equal masses, and the centres."""
    old, new = (torch.cdist(part, real.centres).square() for part in (kept, candidates))  # (M, K) and (N, K)
    cost = torch.cat([old.expand(len(new), *old.shape), new[:, None]], dim=1)  # (N, M + 1, K)
    return transport_cost(cost, real.masses, SMOOTHING * float(real.spread))


def transport_cost(cost: Tensor, masses: Tensor, smoothing: float) -> Tensor:
    """Return <T, cost>, (N,), of the plans T that Sinkhorn's iterations in logarithms find for costs (N, M, K).

    Rows have equal masses, columns have `masses` (K,). smoothing: weight of the plan's entropy, in units of the cost.
    """
    kernel, column = -cost / smoothing, masses.log()
    row = -torch.tensor(cost.shape[1], dtype=cost.dtype).log()
    v = torch.zeros_like(cost[:, 0])
    for _ in range(SINKHORN_STEPS):
        u = row - (kernel + v[:, None]).logsumexp(2)
        v = column - (kernel + u[:, :, None]).logsumexp(1)
    return ((kernel + u[:, :, None] + v[:, None]).exp() * cost).sum((1, 2))


COVERAGE_RULES: dict[str, Callable[[RealClass], Distance]] = {
    "herding": lambda real: partial(mean_distance, real.mean),
    "sinkhorn": lambda real: partial(sinkhorn_distance, real),
}
"""Distances that coverage lowers, by the names that `stages.coverage` takes beside `none`."""


def cover(kept: Tensor, candidates: Tensor, count: int, distance: Distance) -> list[int]:
    """Choose `count` candidates of (N, D) one by one, each of least distance with those `kept` (M, D)."""
    chosen: list[int] = []
    for _ in range(count):
        now = distance(kept, candidates)
        now[chosen] = torch.inf
        chosen.append(int(now.argmin()))
        kept = torch.cat([kept, candidates[chosen[-1]][None]])
    return chosen


class Coverage:
    """The features of each class's set so far, and the choice of what is added to it."""

    def __init__(self, resources: Resources, rule: str) -> None:
        self.resources = resources
        real = {label: real_class(resources, label) for label in resources.classes}
        self.distances = {label: COVERAGE_RULES[rule](one) for label, one in real.items()}
        earlier = resources.growth.run.increments(resources.increment - 1)
        self.kept = {label: one.mean[None][:0] for label, one in real.items()}
        if earlier:
            images = read_union(earlier, resources.growth.class_names, resources.classes)
            features = features_of(resources.covering, images).double()
            self.kept = {label: features[images.indices_of(label)] for label in resources.classes}

    def features(self, images: Tensor) -> Tensor:
        """Compute the features of uint8 images (N, C, H, W), (N, D), in float64 on the CPU, in batches."""
        network: Classifier = self.resources.covering
        with torch.no_grad():
            found = in_batches(lambda part: network.features(to_float(images[part])), len(images), self.resources)
        return found.cpu().double()

    def keep(self, label: int, features: Tensor, count: int) -> list[int]:
        """Choose `count` of a class's candidates, features (N, D), and add them to its set."""
        chosen = cover(self.kept[label], features, count, self.distances[label])
        self.kept[label] = torch.cat([self.kept[label], features[chosen]])
        return chosen


def real_class(resources: Resources, label: int) -> RealClass:
    """Return a class's real features, summarised; the first increment writes them. Errors: UserError."""
    path = resources.growth.run.real_class(resources.config.stages.coverage_network, label)
    names = list(RealClass.__dataclass_fields__)
    if path.exists():
        return RealClass(**load_tensors(path, names))
    train, name = resources.splits.train, resources.growth.class_names[label]
    features = features_of(resources.covering, train.subset(train.indices_of(label))).double()
    centres = find_modes(features[:, :, None, None], min(MOST_CENTRES, len(features)), derive_seed("coverage", name))
    centres = centres.flatten(1)
    counts = torch.cdist(features, centres).argmin(1).bincount(minlength=len(centres)).double()
    held = counts > 0  # of equal centres one has all images
    mean = features.mean(0)
    spread = (features - mean).square().sum(1).mean()
    found = RealClass(mean, centres[held], counts[held] / counts.sum(), spread)
    save_tensors(path, {name: getattr(found, name) for name in names})
    return found
