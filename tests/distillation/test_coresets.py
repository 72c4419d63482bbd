from __future__ import annotations

import pytest
import torch

from lgd.distillation.methods.coresets import herding, k_center


def naive_herding(features: torch.Tensor, count: int) -> list[int]:
    """Order images by herding, trying every free image at every step."""
    mean, taken = features.mean(0), []
    for _ in range(count):
        free = [i for i in range(len(features)) if i not in taken]
        taken.append(min(free, key=lambda i: float((features[[*taken, i]].mean(0) - mean).norm())))
    return taken


def naive_k_center(features: torch.Tensor, count: int, start: int) -> list[int]:
    """Order images by k-center, comparing every free image with every taken one at every step."""
    taken = [start]
    while len(taken) < count:
        free = [i for i in range(len(features)) if i not in taken]
        taken.append(max(free, key=lambda i: min(float((features[i] - features[j]).norm()) for j in taken)))
    return taken


def some_features(seed: int, n: int = 30) -> torch.Tensor:
    return torch.randn(n, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


@pytest.mark.parametrize("seed", range(5))
def test_herding_agrees_with_a_naive_loop(seed: int) -> None:
    features = some_features(seed)
    assert herding(features, 12).tolist() == naive_herding(features, 12)


@pytest.mark.parametrize("seed", range(5))
def test_k_center_agrees_with_a_naive_loop(seed: int) -> None:
    features = some_features(seed)
    assert k_center(features, 12, seed).tolist() == naive_k_center(features, 12, seed)


def test_orders_are_nested_so_that_increments_are_slices() -> None:
    features = some_features(0)
    assert herding(features, 5).tolist() == herding(features, 20)[:5].tolist()
    assert k_center(features, 5, 3).tolist() == k_center(features, 20, 3)[:5].tolist()


def test_no_image_comes_twice_even_among_duplicates() -> None:
    features = some_features(1, 4).repeat(3, 1)
    assert sorted(herding(features, 12).tolist()) == list(range(12))
    assert sorted(k_center(features, 12, 0).tolist()) == list(range(12))
