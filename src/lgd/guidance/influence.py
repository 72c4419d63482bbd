"""Influence (IGD, ICLR 2025): agreement of an image's loss gradient with that of its class's real images."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from lgd.classifiers.architectures import Classifier

Parameters = Mapping[str, Tensor]


@dataclass(frozen=True)
class Surrogate:
    """Checkpoints of a classifier from K moments of its training."""

    classifier: Classifier
    """architecture and normalisation; its own weights are not used"""
    parameters: Parameters
    """the weights of all checkpoints, each (K, ...)"""
    class_gradients: Mapping[int, Tensor]
    """by label, the gradient of the mean loss of real images with respect to all P parameters, (K, P)"""


def gradients(
    classifier: Classifier, parameters: Parameters, images: Tensor, labels: Tensor, weights: Tensor
) -> Tensor:
    """Return the gradient of each group's weighted loss with respect to all parameters, (G, P).

    images (G, N, C, H, W) in [0, 1]; labels and weights (G, N); the loss is the weighted sum of the cross-entropies.
    Differentiable in the images.
    """

    def loss(theta: Parameters, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        logits = functional_call(classifier, dict(theta), (x,))
        return (F.cross_entropy(logits, y, reduction="none") * w).sum()

    per_group = vmap(grad(loss), in_dims=(None, 0, 0, 0))(dict(parameters), images, labels, weights)
    return torch.cat([g.flatten(1) for g in per_group.values()], dim=1)


def class_gradients(
    classifier: Classifier, images: Iterable[Tensor], labels: Sequence[int], groups: int = 10, chunk: int = 50
) -> Tensor:
    """Return the gradient of the mean loss over each class's images, (len(labels), P), without a graph.

    images: one (N_c, C, H, W) in [0, 1] per class; N_c may differ. `groups` classes are read at a time, with `chunk`
    images each in one call, which bounds the memory.
    """
    parameters = dict(classifier.named_parameters())
    classes = iter(images)

    def of_group(labels: Sequence[int]) -> Tensor:
        group = list(islice(classes, len(labels)))
        longest = max(len(x) for x in group)
        x = torch.stack([F.pad(x, (0, 0) * 3 + (0, longest - len(x))) for x in group])  # (G, N, C, H, W)
        present = [torch.arange(longest, device=x.device) < len(own) for own in group]
        w = torch.stack([p.to(x.dtype) / len(own) for p, own in zip(present, group, strict=True)])
        y = torch.tensor(labels, device=x.device)[:, None].expand(-1, longest)
        parts = zip(x.split(chunk, 1), y.split(chunk, 1), w.split(chunk, 1), strict=True)
        return torch.stack([gradients(classifier, parameters, *part).detach() for part in parts]).sum(0)

    return torch.cat([of_group(labels[i : i + groups]) for i in range(0, len(labels), groups)])


def influence(images: Tensor, labels: Tensor, surrogate: Surrogate) -> Tensor:
    """Return the mean over K checkpoints of cos(gradient of the image's loss, gradient of its class), (B,).

    images (B, C, H, W) in [0, 1], labels (B,). Differentiable in the images, through second derivatives. One call takes
    all images and checkpoints: small networks cost time per call, not per operation.
    """
    return joint_influence(images[:, None], labels, surrogate)


def joint_influence(images: Tensor, labels: Tensor, surrogate: Surrogate) -> Tensor:
    """Return the `influence` of the mean loss of the N images of each group (B, N, C, H, W) of one label, (B,)."""
    B, N = images.shape[:2]
    shares = torch.full((B, N), 1 / N, dtype=images.dtype, device=images.device)

    def at_checkpoint(theta: Parameters) -> Tensor:
        return gradients(surrogate.classifier, theta, images, labels[:, None].expand(B, N), shares)

    own = vmap(at_checkpoint)(dict(surrogate.parameters))  # (K, B, P)
    towards = torch.stack([surrogate.class_gradients[label] for label in labels.tolist()], dim=1)  # (K, B, P)
    return F.cosine_similarity(own, towards, dim=2).mean(0)
