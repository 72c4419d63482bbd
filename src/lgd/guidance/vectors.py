"""Per-sample norms and directions of (B, ...) tensors, and the two ways of applying a direction."""

from __future__ import annotations

from torch import Tensor

from lgd.diffusion.types import Prediction, Step

LINEAGE_U = 0.0015
"""The constant hidden in IGD's code and absent from the printed formula (method.md, section 3)."""


def per_sample(values: Tensor, like: Tensor) -> Tensor:
    """(B,) reshaped so that it multiplies `like` (B, ...)."""
    return values.view(-1, *[1] * (like.ndim - 1))


def norm(x: Tensor) -> Tensor:
    """L2 norm of each sample, (B, 1, ...)."""
    return per_sample(x.flatten(1).norm(dim=1), x)


def unit(g: Tensor) -> Tensor:
    """g / ||g|| per sample, and zero where g is zero.

    Scaled by the largest entry first, so that squares of tiny gradients do not underflow.
    """
    largest = per_sample(g.flatten(1).abs().amax(1), g)
    scaled = g / largest.where(largest > 0, 1)
    length = norm(scaled)
    return scaled / length.where(length > 0, 1)


def along_noise(prediction: Prediction, direction: Tensor, strength: float, step: Step) -> Prediction:
    """Noise space: eps' = eps - strength sqrt(1 - abar) ||eps|| direction, which moves x along +direction.

    direction: unit vectors or zero, (B, C, H, W). eps = -sigma * score, hence the minus.
    """
    sigma = (1 - step.alpha_bar) ** 0.5
    return prediction.minus_noise(strength * sigma * norm(prediction.eps) * direction, step)


def along_sample(prediction: Prediction, g: Tensor, strength: float, step: Step) -> Prediction:
    """Sample space: x_{t-1} += strength u sqrt(1 - abar) (RMS(eps) / RMS(g)) g, the lineage's form."""
    sigma = (1 - step.alpha_bar) ** 0.5
    return prediction.shifted(strength * LINEAGE_U * sigma * norm(prediction.eps) * unit(g))
