"""Nearest real neighbours in the judge's features: is a synthetic image a copy of a training image?"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from lgd.classifiers.architectures import Classifier, feature_batches, features_of
from lgd.config import DatasetConfig
from lgd.data.imageset import ImageSet
from lgd.data.splits import cached_splits
from lgd.distillation.judge import load_judge, real_outputs
from lgd.distillation.recipe import Assets

from .context import Inputs, real_sample
from .measure import Cells, Headline, Measure

NEAR_QUANTILE = 0.01
"""an image is a near copy up to this quantile of the real images' distances to one another"""
MOST_AMONG_REAL = 2000
"""real images whose distances to all the others give that quantile"""
PART = 8192
"""real images compared at once"""


def compute(inputs: Inputs) -> dict[str, Any]:
    """Compare the set with all real training images; batches of their features may exceed memory together."""
    real, (places, _), features = inputs.real.train, real_sample(inputs.context), inputs.real_features
    batches = [features] if len(places) == len(real) else feature_batches(inputs.judge, real)
    some = evenly(len(places))
    found = compare_to_real(inputs.features, features[some], places[some], batches)
    return {**found, "exact": percent(exact_copies(inputs.images, real, torch.tensor(found["nearest"])))}


def copies(assets: Assets, images: ImageSet, anchors: Tensor) -> dict[str, float | None]:
    """Return the percent of images that copy a real training image, exactly (`exact`) or nearly (`near`).

    anchors: positions in the training set of the real images from which the images were sampled, (N,); -1 for none.
    `anchor` is the percent of the anchored images that are near copies of their own anchor; None without anchors.
    """
    judge, dataset = load_judge(assets), assets.dataset
    train, real = cached_splits(dataset).train, real_outputs(judge, dataset)[0]
    features, limit = unit(features_of(judge, images)), near_limit(judge, dataset)
    distance, neighbours = nearest(features, map(unit, real.split(PART)))
    anchored = anchors >= 0
    to_anchor = (features[anchored] - unit(real[anchors[anchored]])).norm(dim=1)
    return {
        "exact": percent(exact_copies(images, train, neighbours)),
        "near": percent(distance <= limit),
        "anchor": percent(to_anchor <= limit) if anchored.any() else None,
    }


@lru_cache(maxsize=1)
def near_limit(judge: Classifier, dataset: DatasetConfig) -> Tensor:
    """Return the largest distance of a near copy in the judge's features."""
    real = real_outputs(judge, dataset)[0]
    some = evenly(len(real))
    return limit_of(nearest(unit(real[some]), map(unit, real.split(PART)), some)[0])


def limit_of(among_real: Tensor) -> Tensor:
    """Return the largest distance of a near copy, from distances (M,) of real images to their nearest others."""
    return among_real.quantile(NEAR_QUANTILE) if len(among_real) > 1 else torch.tensor(0.0)


def evenly(count: int) -> Tensor:
    """Return evenly spaced positions among `count`, at most `MOST_AMONG_REAL`."""
    return torch.linspace(0, count - 1, min(count, MOST_AMONG_REAL)).long()


def percent(found: Tensor) -> float:
    return 100 * found.double().mean().item()


def compare_to_real(synthetic: Tensor, some_real: Tensor, places: Tensor, real: Iterable[Tensor]) -> dict[str, Any]:
    """Find each image's nearest real neighbour, and the percent of images that are near copies.

    synthetic: features (N, D). some_real: features (M, D) of the real images at `places` (M,). real: the features of
    all real images, in batches. `near` counts images nearer to a real one than all but 1 % of `some_real` are to
    another: about 1 % of new real images, far more of copies.
    """
    own = torch.cat([torch.full((len(synthetic),), -1), places])
    distances, neighbours = nearest(unit(torch.cat([synthetic, some_real])), map(unit, real), own)
    distance, among_real = distances.split([len(synthetic), len(some_real)])
    return {
        "median_distance": distance.median().item(),
        "median_distance_among_real": among_real.median().item(),
        "near": percent(distance <= limit_of(among_real)),
        "nearest": neighbours[: len(synthetic)].tolist(),
        "distance": distance.tolist(),
    }


def exact_copies(synthetic: ImageSet, real: ImageSet, neighbours: Tensor) -> Tensor:
    """Return whether the pixels of each image equal those of its neighbour, (N,); neighbours: positions in `real`."""
    return (synthetic.images == real.pixels(neighbours)).flatten(1).all(1)


def unit(rows: Tensor) -> Tensor:
    """Scale each row of (N, D) to length 1, so that distance is one of direction: 0 for the same, 2 for opposite."""
    return rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)


def nearest(
    queries: Tensor, pool: Iterable[Tensor], own: Tensor | None = None, chunk: int = 1024
) -> tuple[Tensor, Tensor]:
    """Euclidean distance to the nearest row of `pool` and its position, (N,) each; of equally near ones, the first.

    queries (N, D); pool: parts (M, D) of a whole that may be larger than memory. own: position in the pool of each
    query, int64 (N,), which is not its own neighbour; -1 for none.
    """
    distance, place = torch.full((len(queries),), torch.inf), torch.zeros(len(queries), dtype=torch.long)
    start = 0
    for part in pool:
        for rows in torch.arange(len(queries)).split(chunk):
            d = torch.cdist(queries[rows], part, compute_mode="donot_use_mm_for_euclid_dist")  # (chunk, M)
            if own is not None:
                here = ((own[rows] >= start) & (own[rows] < start + len(part))).nonzero().flatten()
                d[here, own[rows][here] - start] = torch.inf
            least, at = d.min(1)
            nearer = least < distance[rows]
            distance[rows] = torch.where(nearer, least, distance[rows])
            place[rows] = torch.where(nearer, at + start, place[rows])
        start += len(part)
    return distance, place


def aggregate(cells: Cells) -> dict[str, Any]:
    """Leave the values of single images in the cell."""
    return {name: value for name, value in cells.values()[0].items() if not isinstance(value, list)}


MEASURE = Measure(
    title="Nearest real neighbours",
    how_to_read="About 1 % of new real images are near copies of a training image. A higher share, or any exact copy,"
    " means that the set repeats training images.",
    compute=compute,
    headlines=(
        Headline("near", "near copies, %", path=("near",)),
        Headline("exact", "exact copies, %", path=("exact",)),
    ),
    aggregate=aggregate,
)
