"""Nearest real neighbours in the judge's features: is a synthetic image a copy of a training image?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from lgd.classifiers.architectures import feature_batches
from lgd.data.imageset import ImageSet

from .context import Inputs, real_sample
from .measure import Cells, Headline, Measure

CLOSE_QUANTILE = 0.01
"""an image is close below this quantile of the real images' distances to one another"""
MOST_AMONG_REAL = 2000
"""real images whose distances to all the others give that quantile"""


def compute(inputs: Inputs) -> dict[str, Any]:
    """Compare the set with all real training images; batches of their features may exceed memory together."""
    real, (places, _), features = inputs.real.train, real_sample(inputs.context), inputs.real_features
    batches = [features] if len(places) == len(real) else feature_batches(inputs.judge, real)
    some = torch.linspace(0, len(places) - 1, min(len(places), MOST_AMONG_REAL)).long()
    found = compare_to_real(inputs.features, features[some], places[some], batches)
    return {**found, "exact_copies": exact_copies(inputs.images, real, found["nearest"])}


def compare_to_real(synthetic: Tensor, some_real: Tensor, places: Tensor, real: Iterable[Tensor]) -> dict[str, Any]:
    """Find each image's nearest real neighbour, and the percent of images that are close to theirs.

    synthetic: features (N, D). some_real: features (M, D) of the real images at `places` (M,). real: the features of
    all real images, in batches. `close` counts images nearer to a real one than all but 1 % of `some_real` are to
    another: about 1 % of new real images, far more of copies.
    """
    own = torch.cat([torch.full((len(synthetic),), -1), places])
    distances, neighbours = nearest(unit(torch.cat([synthetic, some_real])), map(unit, real), own)
    distance, among_real = distances.split([len(synthetic), len(some_real)])
    threshold = among_real.quantile(CLOSE_QUANTILE) if len(among_real) > 1 else torch.tensor(0.0)
    return {
        "median_distance": distance.median().item(),
        "median_distance_among_real": among_real.median().item(),
        "close": 100 * (distance < threshold).double().mean().item(),
        "nearest": neighbours[: len(synthetic)].tolist(),
        "distance": distance.tolist(),
    }


def exact_copies(synthetic: ImageSet, real: ImageSet, neighbours: list[int]) -> int:
    """Count the images whose pixels equal their neighbour's."""
    return int((synthetic.images == real.pixels(torch.tensor(neighbours))).flatten(1).all(1).sum())


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
    how_to_read="About 1 % of new real images are close to a training image. A higher share, or any exact copy, means"
    " that the set repeats training images.",
    compute=compute,
    headlines=(
        Headline("close", "close to a real one, %", path=("close",)),
        Headline("exact_copies", "exact copies", path=("exact_copies",)),
    ),
    aggregate=aggregate,
)
