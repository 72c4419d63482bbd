"""Distance of the synthetic from the real distribution: FID, KID, precision and recall, in reference features.

The numbers compare sets under one reference. They are not those of papers, which use Inception's features.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from lgd.rng import seeded_initialisation

NEIGHBOURS = 3
"""k of precision and recall, as in the paper that defines them"""
KID_SUBSETS = 100
KID_LARGEST_SUBSET = 1000


class _Ready(nn.Module):
    """torchmetrics wants a network; the features are there already."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width

    def forward(self, features: Tensor) -> Tensor:
        return features


def fid(real: Tensor, synthetic: Tensor) -> float | None:
    """Frechet distance of two Gaussians (Heusel et al., NeurIPS 2017) fitted to (N, D) and (M, D) features.

    Biased upwards for few images; compare sets of one size only. None with fewer than two images.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    if min(len(real), len(synthetic)) < 2:
        return None
    metric = FrechetInceptionDistance(feature=_Ready(real.shape[1])).set_dtype(torch.double)
    metric.update(real.double(), real=True)
    metric.update(synthetic.double(), real=False)
    return max(metric.compute().item(), 0.0)


def kid(real: Tensor, synthetic: Tensor, seed: int) -> tuple[float, float] | None:
    """Kernel distance (Binkowski et al., ICLR 2018): mean and deviation over random subsets of equal size.

    Unbiased, so that small values may be negative. None with fewer than two images.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    size = min(len(real), len(synthetic), KID_LARGEST_SUBSET)
    if size < 2:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that features stay in memory, which they do already
        metric = KernelInceptionDistance(feature=_Ready(real.shape[1]), subsets=KID_SUBSETS, subset_size=size)
    metric.update(real, real=True)
    metric.update(synthetic, real=False)
    with seeded_initialisation(seed, "KID"):  # torchmetrics draws the subsets from torch's global generator
        mean, deviation = metric.compute()
    return mean.item(), deviation.item()


def precision_recall(real: Tensor, synthetic: Tensor, k: int = NEIGHBOURS) -> tuple[float, float] | None:
    """Improved precision and recall (Kynkaanniemi et al., NeurIPS 2019), in percent.

    Precision: synthetic images inside the real manifold, the union of balls around real features (N, D) that reach to
    their k-th neighbour. Recall: real images inside the synthetic manifold. None with fewer than k + 1 images.
    """
    if min(len(real), len(synthetic)) <= k:
        return None
    return covered(synthetic, real, k), covered(real, synthetic, k)


def covered(points: Tensor, support: Tensor, k: int, chunk: int = 1024) -> float:
    """Percent of `points` (N, D) within the k-nearest-neighbour balls of `support` (M, D)."""
    radii = torch.cat([_distances(part, support).kthvalue(k + 1, dim=1).values for part in support.split(chunk)])
    inside = torch.cat([(_distances(part, support) <= radii).any(1) for part in points.split(chunk)])
    return 100 * inside.double().mean().item()


def _distances(a: Tensor, b: Tensor) -> Tensor:
    # The exact mode: with the matrix product's rounding a point may lie outside its own ball.
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
