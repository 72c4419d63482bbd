"""The learnability score (method.md, section 2; LGD, CVPR 2026)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

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
