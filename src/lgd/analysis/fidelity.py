"""Distance between the synthetic and the real distribution: FID, KID, precision and recall, in the judge's features.

The numbers compare sets under one judge. They are not those of papers, which use Inception's features.
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lgd.rng import seeded_initialisation

from .context import Inputs
from .measure import Headline, Measure

NEIGHBOURS = 3
"""k of precision and recall, as in the paper that defines them"""
KID_SUBSETS = 100
KID_LARGEST_SUBSET = 1000


class _Identity(nn.Module):
    """The feature extractor that torchmetrics asks for, given features."""

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
    metric = FrechetInceptionDistance(feature=_Identity(real.shape[1])).set_dtype(torch.double)
    metric.update(real.double(), real=True)
    metric.update(synthetic.double(), real=False)
    return max(metric.compute().item(), 0.0)


def kid(real: Tensor, synthetic: Tensor, seed: int = 0) -> dict[str, float] | None:
    """Kernel distance (Binkowski et al., ICLR 2018): mean and deviation over random subsets of equal size.

    Unbiased, so that small values may be negative. None with fewer than two images.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    size = min(len(real), len(synthetic), KID_LARGEST_SUBSET)
    if size < 2:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchmetrics warns that it keeps features in memory; they are there anyway
        metric = KernelInceptionDistance(feature=_Identity(real.shape[1]), subsets=KID_SUBSETS, subset_size=size)
    metric.update(real, real=True)
    metric.update(synthetic, real=False)
    with seeded_initialisation(seed, "KID"):  # torchmetrics draws the subsets from torch's global generator
        mean, deviation = metric.compute()
    return {"mean": mean.item(), "std": deviation.item()}


def precision(real: Tensor, synthetic: Tensor) -> float | None:
    """Percent of the synthetic images inside the real manifold; see `recall`."""
    return recall(synthetic, real)


def recall(real: Tensor, synthetic: Tensor, k: int = NEIGHBOURS, chunk: int = 1024) -> float | None:
    """Percent of the real images inside the synthetic manifold (Kynkaanniemi et al., NeurIPS 2019).

    The manifold is the union of balls around the features (M, D) that reach to their k-th neighbours; None where there
    are none.
    """
    if len(synthetic) <= k:
        return None
    radii = torch.cat([_distances(part, synthetic).kthvalue(k + 1, dim=1).values for part in synthetic.split(chunk)])
    inside = torch.cat([(_distances(part, synthetic) <= radii).any(1) for part in real.split(chunk)])
    return 100 * inside.double().mean().item()


def _distances(a: Tensor, b: Tensor) -> Tensor:
    # The exact mode: with the matrix product's rounding a point may lie outside its own ball.
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def of_features(distance: Callable[[Tensor, Tensor], Any], inputs: Inputs) -> Any:
    return distance(inputs.real_features, inputs.features)


FID = Measure(
    title="FID",
    how_to_read="Lower means nearer to the real images in the judge's features. Compare sets of one size only: few"
    " images raise it.",
    compute=partial(of_features, fid),
    headlines=(Headline("fid", "FID"),),
)
KID = Measure(
    title="KID",
    how_to_read="Lower means nearer to the real images in the judge's features; it is unbiased, so values around 0"
    " may be negative.",
    compute=partial(of_features, kid),
    headlines=(Headline("kid", "KID", 3, ("mean",)),),
)
PRECISION = Measure(
    title="Precision",
    how_to_read="Percent of the images that lie among the real ones; low means implausible or unusually hard images.",
    compute=partial(of_features, precision),
    headlines=(Headline("precision", "precision, %"),),
)
RECALL = Measure(
    title="Recall",
    how_to_read="Percent of the real images that lie among those of the set; low means that some kinds are missing.",
    compute=partial(of_features, recall),
    headlines=(Headline("recall", "recall, %"),),
)
