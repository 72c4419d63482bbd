"""Learnability (LGD, CVPR 2026): the score (method.md, section 2), and guidance that climbs a score."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lgd.config import GuidanceConfig
from lgd.diffusion.sampler import predicted
from lgd.diffusion.types import Denoiser, Prediction, Step
from lgd.errors import NonFiniteError, UserError

from .vectors import along_noise, along_sample, unit

Score = Callable[[Tensor], Tensor]
"""Maps a predicted clean latent (B, C, H, W) to scores (B,)."""
Logits = Callable[[Tensor], Tensor]
"""Maps images in [0, 1], (B, C, H, W), to logits (B, classes)."""


def mean_loss(images: Tensor, labels: Tensor, classifiers: Sequence[Logits]) -> Tensor:
    """Return the cross-entropy of each image in nats, averaged over the classifiers, (B,)."""
    return torch.stack([F.cross_entropy(theta(images), labels, reduction="none") for theta in classifiers]).mean(0)


def learnability(images: Tensor, labels: Tensor, learners: Sequence[Logits], reference: Logits, omega: float) -> Tensor:
    """Return S(x, y) = CE(theta(x), y) - omega CE(theta*(x), y), (B,): high where only the learner fails.

    The loss of several learners is their mean. With omega = 0 the reference is not called.
    """
    S = mean_loss(images, labels, learners)
    return S - omega * mean_loss(images, labels, [reference]) if omega else S


def in_window(step: Step, config: GuidanceConfig) -> bool:
    """Return whether a step is guided: every `config.every`-th of the window, from its noisiest on.

    The window is a pair of indices of the respaced schedule; both belong to it.
    """
    low, high = config.window
    return low <= step.index <= high and (high - step.index) % config.every == 0


def fixed_strength(config: GuidanceConfig) -> float:
    """Return the strength, which a calibration has replaced if it was "auto"."""
    assert not isinstance(config.strength, str), "the strength is not calibrated yet"
    return config.strength


def guided_steps(config: GuidanceConfig, first: int) -> int:
    """Return the number of guided steps of a sampling that starts at the index `first`."""
    return sum(in_window(Step(index, 0, 0.5), config) for index in range(first + 1))


def learnability_guided(inner: Denoiser, score: Score, config: GuidanceConfig) -> Denoiser:
    """Wrap a denoiser so that samples climb `score` of their predicted clean latent.

    Noise space: eps' = eps - lambda sqrt(1 - abar) ||eps|| unit(g), with g = dS/dx_t of `score_gradient`. Sample space:
    x_{t-1} += lambda u sqrt(1 - abar) (RMS(eps) / RMS(g)) g. Both climb; the sign printed in the paper descends.
    Errors: NonFiniteError naming the step.
    """
    strength = fixed_strength(config) * config.every
    if strength == 0:
        return inner

    def guided(x_t: Tensor, step: Step) -> Prediction:
        if not in_window(step, config):
            return inner(x_t, step)
        prediction, g = score_gradient(inner, score, x_t, step, config.route)
        if config.space == "noise":
            return along_noise(prediction, unit(g), strength, step)
        return along_sample(prediction, g, strength, step)

    return guided


def score_gradient(inner: Denoiser, score: Score, x_t: Tensor, step: Step, route: str) -> tuple[Prediction, Tensor]:
    """Return the prediction at x_t and g = dS(x0)/dx_t, both (B, C, H, W), detached.

    Route `denoiser` differentiates through `inner`. Route `x0` takes eps as constant in
    x0 = (x_t - sqrt(1 - abar) eps) / sqrt(abar), hence g = dS/dx0 / sqrt(abar).
    """
    with torch.enable_grad():
        if route == "denoiser":
            x = x_t.detach().requires_grad_()
            prediction = predicted(inner, x, step)
            (g,) = torch.autograd.grad(total(score, prediction.x0), x)
        else:
            with torch.no_grad():
                prediction = predicted(inner, x_t, step)
            x0 = prediction.x0.detach().requires_grad_()
            (g,) = torch.autograd.grad(total(score, x0), x0)
            g = g / step.alpha_bar**0.5
    if not torch.isfinite(g).all():
        raise NonFiniteError(f"guidance: NaN or infinite gradient at step index {step.index} (t = {step.timestep})")
    return prediction.detached(), g


def total(score: Score, x0: Tensor) -> Tensor:
    """Return the sum of the scores of x0 (B, C, H, W). Errors: UserError for a score that is not one per sample."""
    scores = score(x0)
    if scores.shape != x0.shape[:1]:
        raise UserError(f"score: returned {tuple(scores.shape)} for x0 {tuple(x0.shape)}; expected ({len(x0)},)")
    return scores.sum()
