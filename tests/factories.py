"""Factories of networks: a good one, and others that are refused."""

from __future__ import annotations

from math import prod

import torch
from torch import nn

Shape = tuple[int, int, int]


class Perceptron(nn.Module):
    """A network that is no Sequential, and whose head is registered first."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(16, classes)
        self.body = nn.Linear(prod(shape), 16)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(images.flatten(1)).relu())


def perceptron(shape: Shape, classes: int) -> nn.Module:
    return Perceptron(shape, classes)


def three_logits(shape: Shape, classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), 3))


def no_network(shape: Shape, classes: int) -> str:
    return "network"
