"""Nearest real neighbours in the reference's features: is a synthetic image a copy of a training image?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lgd.data.imageset import ImageSet

CLOSE_QUANTILE = 0.01
"""a synthetic image is suspiciously close below this quantile of the real images' distances to one another"""


def unit(rows: Tensor) -> Tensor:
    """Each row of (N, D) scaled to length 1, so that distance is one of direction: 0 alike, 2 opposite."""
    return rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)


def nearest(queries: Tensor, pool: Tensor, skip_itself: bool = False, chunk: int = 1024) -> tuple[Tensor, Tensor]:
    """Euclidean distance to the nearest row of `pool` and its position, (N,) each.

    queries (N, D), pool (M, D). skip_itself: the two are the same rows, and a row is not its own neighbour.
    """
    distances, places = [], []
    for start in range(0, len(queries), chunk):
        part = queries[start : start + chunk]
        d = torch.cdist(part, pool, compute_mode="donot_use_mm_for_euclid_dist")  # (chunk, M)
        if skip_itself:
            own = torch.arange(len(part))
            d[own, start + own] = torch.inf
        distance, place = d.min(1)
        distances.append(distance)
        places.append(place)
    return torch.cat(distances), torch.cat(places)


def copying(synthetic: ImageSet, real: ImageSet, synthetic_features: Tensor, real_features: Tensor) -> dict[str, Any]:
    """Summary and, per image, the nearest real image and how far it is.

    `exact_copies` counts images whose pixels equal their neighbour's. `close` is the percent of images nearer to a real
    one than all but 1 % of real images are to another: about 1 for a set of new real images, far more for copies.
    """
    synthetic_features, real_features = unit(synthetic_features), unit(real_features)
    distance, place = nearest(synthetic_features, real_features)
    among_real, _ = nearest(real_features, real_features, skip_itself=True)
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
