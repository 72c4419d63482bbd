"""Optimisers and learning rates of the field's protocols (docs/protocols.md)."""

from math import cos, pi

import torch

from lgd.config import TrainingConfig

from .architectures import Classifier


def new_optimiser(classifier: Classifier, config: TrainingConfig) -> torch.optim.Optimizer:
    """Return AdamW, or SGD with momentum 0.9; without `decay_norms`, vectors (biases and norms) do not decay."""
    rate, decay = config.learning_rate, config.weight_decay
    parameters = list(classifier.parameters())
    groups = [{"params": parameters}]
    if not config.decay_norms:
        groups = [{"params": [p for p in parameters if p.ndim > 1]}]
        groups += [{"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0}]  # type: ignore[dict-item]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=rate, weight_decay=decay, fused=True)
    return torch.optim.SGD(groups, lr=rate, weight_decay=decay, momentum=0.9, fused=True)


def rate_factor(epoch: int, epochs: int, schedule: str = "step") -> float:
    """Return the factor on the learning rate in epoch 0, 1, ...

    constant: 1. step: 0.2 from 2/3 and again from 5/6 of the epochs. cosine: (1 + cos(pi e / E)) / 2, to zero.
    half-cosine: (1 + cos(pi e / (2 E))) / 2, to one half.
    """
    if schedule == "constant":
        return 1.0
    if schedule == "step":
        return 0.2 ** ((epoch >= 2 * epochs // 3) + (epoch >= 5 * epochs // 6))
    return (1 + cos(pi * epoch / (epochs if schedule == "cosine" else 2 * epochs))) / 2
