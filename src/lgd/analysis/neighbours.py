"""Nearest real neighbours in the reference's features: is a synthetic image a copy of a training image?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from lgd.data.imageset import ImageSet

CLOSE_QUANTILE = 0.01
"""a synthetic image is suspiciously close below this quantile of the real images' distances to one another"""


MOST_AMONG_REAL = 2000
"""real images whose distances to all the others give that quantile"""


def rows_at(parts: Iterable[Tensor], chosen: Tensor) -> Tensor:
    """The rows at ascending positions `chosen` of a whole that comes in parts."""
    found, start = [], 0
    for part in parts:
        found.append(part[chosen[(chosen >= start) & (chosen < start + len(part))] - start])
        start += len(part)
    return torch.cat(found)


def unit(rows: Tensor) -> Tensor:
    """Each row of (N, D) scaled to length 1, so that distance is one of direction: 0 alike, 2 opposite."""
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


def copying(
    synthetic: ImageSet, real: ImageSet, synthetic_features: Tensor, real_features: Callable[[], Iterable[Tensor]]
) -> dict[str, Any]:
    """Summary and, per image, the nearest real image and how far it is.

    real_features: gives the features of the real images, part after part, whenever it is called. `exact_copies` counts
    images whose pixels equal their neighbour's. `close` is the percent of images nearer to a real one than all but 1 %
    of real images (of a large set, some evenly spread) are to another: about 1 for a set of new real images, far more
    for copies.
    """
    chosen = torch.linspace(0, len(real) - 1, min(len(real), MOST_AMONG_REAL)).long()
    compared = unit(torch.cat([synthetic_features, rows_at(real_features(), chosen)]))
    own = torch.cat([torch.full((len(synthetic),), -1), chosen])
    distances, places = nearest(compared, map(unit, real_features()), own)
    distance, among_real = distances.split([len(synthetic), len(chosen)])
    place = places[: len(synthetic)]
    threshold = among_real.quantile(CLOSE_QUANTILE) if len(among_real) > 1 else torch.tensor(0.0)
    same = (synthetic.images == real.pixels(place)).flatten(1).all(1)
    return {
        "median_distance": distance.median().item(),
        "median_distance_among_real": among_real.median().item(),
        "close": 100 * (distance < threshold).double().mean().item(),
        "exact_copies": int(same.sum()),
        "nearest": place.tolist(),
        "distance": distance.tolist(),
    }
