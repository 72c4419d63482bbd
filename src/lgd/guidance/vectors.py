"""Per-sample norms and directions of (B, ...) tensors, and the two spaces in which guidance moves a prediction."""

from torch import Tensor

from lgd.diffusion.types import Prediction, Step

IGD_U = 0.0015
"""A constant factor u of guidance in IGD's code that its printed formula lacks."""


def per_sample(values: Tensor, like: Tensor) -> Tensor:
    """Reshape (B,) so that it multiplies `like` (B, ...)."""
    return values.view(-1, *[1] * (like.ndim - 1))


def norm(x: Tensor) -> Tensor:
    """Return the L2 norm of each sample, (B, 1, ...)."""
    return per_sample(x.flatten(1).norm(dim=1), x)


def unit(g: Tensor) -> Tensor:
    """Return g / ||g|| per sample, and zero where g is zero.

    g is divided by its largest entry first, so that squares of tiny gradients do not underflow.
    """
    largest = per_sample(g.flatten(1).abs().amax(1), g)
    scaled = g / largest.where(largest > 0, 1)
    length = norm(scaled)
    return scaled / length.where(length > 0, 1)


def along_noise(prediction: Prediction, direction: Tensor, strength: float, step: Step) -> Prediction:
    """Guide in noise space: eps' = eps - strength sqrt(1 - abar) ||eps|| direction, which moves x along +direction.

    direction: unit vectors or zero, (B, C, H, W). eps = -sqrt(1 - abar) grad log p(x_t), hence the minus.
    """
    sigma = (1 - step.alpha_bar) ** 0.5
    return prediction.minus_noise(strength * sigma * norm(prediction.eps) * direction, step)


def along_sample(prediction: Prediction, g: Tensor, strength: float, step: Step) -> Prediction:
    """Guide in sample space, as IGD's code does: x_{t-1} += strength u sqrt(1 - abar) (RMS(eps) / RMS(g)) g."""
    sigma = (1 - step.alpha_bar) ** 0.5
    return prediction.shifted(strength * IGD_U * sigma * norm(prediction.eps) * unit(g))
