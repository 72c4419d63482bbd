"""Coverage against slow exact versions, and what it keeps in a run."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from tests.conftest import resources_of
from torch import Tensor
from torch.nn import functional as F

from lgd.classifiers.architectures import features_of
from lgd.config import Config, with_values
from lgd.distillation import coverage as module
from lgd.distillation.coverage import COVERAGE_RULES, RealClass, cover, mean_distance, real_class, transport_cost
from lgd.distillation.layout import Run
from lgd.distillation.methods import methods_used, with_method
from lgd.distillation.methods.sampled import sample_lgd, sample_unguided
from lgd.distillation.resources import Resources
from lgd.distillation.selection import SELECTION_RULES, CandidateScores, ranked
from lgd.distillation.store import read_increment
from lgd.rng import image_seed


def some(seed: int, n: int, d: int = 5) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def some_class(seed: int) -> RealClass:
    features, masses = some(seed, 40), some(seed + 1, 6, 1).abs().flatten()
    spread = (features - features.mean(0)).square().sum(1).mean()
    return RealClass(features.mean(0), features[:6], masses / masses.sum(), spread)


def exact_transport(points: Tensor, real: RealClass) -> float:
    """Solve the transport of equal masses to the centres as a linear program."""
    cost = np.array([[float((x - c).square().sum()) for c in real.centres] for x in points])
    M, K = cost.shape
    rows = [np.repeat(np.eye(M)[i], K) for i in range(M)]
    columns = [np.tile(np.eye(K)[j], M) for j in range(K)]
    masses = [*np.full(M, 1 / M), *real.masses.tolist()]
    return float(linprog(cost.flatten(), A_eq=np.array([*rows, *columns]), b_eq=masses).fun)


@pytest.mark.parametrize("seed", range(3))
def test_transport_cost_approaches_the_linear_program(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SINKHORN_STEPS", 5000)
    real, points = some_class(seed), some(seed + 7, 8)
    cost = torch.cdist(points, real.centres).square()
    wanted = exact_transport(points, real)
    found = [float(transport_cost(cost[None], real.masses, smoothing)[0]) for smoothing in (2.0, 0.3, 0.02)]
    assert found[0] > found[1] > found[2] > wanted - 1e-3
    assert found[2] == pytest.approx(wanted, rel=0.01)


@pytest.mark.parametrize("rule", sorted(COVERAGE_RULES))
@pytest.mark.parametrize("seed", range(3))
def test_the_choice_equals_a_slow_exact_loop(rule: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Greedy, one candidate after the other; transport by the linear program."""
    monkeypatch.setattr(module, "SMOOTHING", 0.002)
    monkeypatch.setattr(module, "SINKHORN_STEPS", 2000)
    real, kept, candidates = some_class(seed), some(seed + 20, 3), some(seed + 30, 9)
    chosen: list[int] = []

    def distance(i: int) -> float:
        points = torch.cat([kept, candidates[[*chosen, i]]])
        return exact_transport(points, real) if rule == "sinkhorn" else float((points.mean(0) - real.mean).norm())

    for _ in range(4):
        chosen.append(min((i for i in range(9) if i not in chosen), key=distance))
    assert cover(kept, candidates, 4, COVERAGE_RULES[rule](real)) == chosen


def test_the_set_so_far_decides_what_is_missing() -> None:
    left, right = torch.tensor([[-1.0]]).double(), torch.tensor([[1.0]]).double()
    candidates = torch.cat([left, right])
    distance = partial(mean_distance, torch.zeros(1).double())
    assert cover(left, candidates, 1, distance) == [1]
    assert cover(right, candidates, 1, distance) == [0]


def test_the_order_of_a_rule_is_its_choice_from_what_is_left() -> None:
    score = torch.tensor([0.1, 0.9, 0.5, 0.7])
    valid = torch.tensor([True, False, True, True])
    scores = CandidateScores(score, score, score, valid)
    assert ranked(scores, 4, SELECTION_RULES["score"], Config().stages) == [1, 3, 2, 0]
    assert ranked(scores, 4, SELECTION_RULES["valid-first"], Config().stages) == [3, 2, 0, 1]


def covered(tiny: Config, finished: Path, increment: int, **values: object) -> Resources:
    changes = {"stages.candidates": 3, "stages.coverage": "herding", "guidance.deviation": 0.0}
    fields = {name.replace("_", ".", 1): value for name, value in values.items()}
    resources = resources_of(with_values(tiny, {**changes, **fields}), finished, increment, range(2, 4))
    resources.independent = resources.reference  # type: ignore[misc]  # the run has no independent network
    return resources


@pytest.mark.parametrize("rule", sorted(COVERAGE_RULES))
def test_unguided_images_are_those_of_the_slow_choice(
    rule: str, tiny: Config, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all candidates of a class, each from its own seed, the ones that the slow loop takes, given increment 1."""
    resources = covered(tiny, finished, 2, stages_coverage=rule)
    monkeypatch.setattr(Run, "real_class", lambda self, network, label: finished / "nowhere" / str(label))
    monkeypatch.setattr(module, "save_tensors", lambda *_: None)
    found = sample_unguided(resources)
    plain = with_values(tiny, {"stages.images_per_increment": 1})
    earlier = read_increment(Run(finished).increment(1), [str(c) for c in range(10)])
    network = resources.independent
    for label in (2, 3):
        own = [item for item in found if item.label == label]
        assert [item.slot for item in own] == [0, 1]
        seeds = [image_seed(0, 2, str(label), slot, k) for slot in range(2) for k in range(3)]
        listed = [candidate.seed for item in own for candidate in item.candidates]
        assert sorted(listed) == sorted(seeds)  # type: ignore[type-var]
        assert all(candidate.score is None for item in own for candidate in item.candidates)
        images = torch.stack([alone(resources_of(plain, finished, 2, range(label, label + 1)), seed) for seed in seeds])
        features = network.features(images / 255).double()
        kept = network.features(earlier.images[earlier.labels == label] / 255).double()
        chosen = cover(kept, features, 2, COVERAGE_RULES[rule](real_class(resources, label)))
        assert [item.candidates[item.chosen].seed for item in own] == [seeds[i] for i in chosen]
        for item, i in zip(own, chosen, strict=True):
            assert (item.image.float() - images[i]).abs().max() <= 1


def test_herded_samples_are_the_slow_choice_from_the_easier_half(
    tiny: Config, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of six candidates of a class the three of least reference loss; of these the two that keep the mean."""
    monkeypatch.setattr(Run, "real_class", lambda self, network, label: finished / "nowhere" / network / str(label))
    monkeypatch.setattr(module, "save_tensors", lambda *_: None)
    config = with_method(with_values(tiny, {"stages.candidates": 3}), "dit-herded")
    resources = resources_of(config, finished, 1, range(2, 4))
    found, plain = sample_unguided(resources), with_values(tiny, {"stages.images_per_increment": 1})
    reference, train = resources.reference, resources.splits.train
    for label in (2, 3):
        own = [item for item in found if item.label == label]
        seeds = [image_seed(0, 1, str(label), slot, k) for slot in range(2) for k in range(3)]
        images = torch.stack([alone(resources_of(plain, finished, 1, range(label, label + 1)), seed) for seed in seeds])
        losses = F.cross_entropy(reference(images / 255), torch.full((6,), label), reduction="none")
        easier = sorted(range(6), key=lambda i: float(losses[i]))[:3]
        mean = features_of(reference, train.subset(train.indices_of(label))).double().mean(0)
        features = reference.features(images[easier] / 255).double()
        first = int((features - mean).norm(dim=1).argmin())
        rest = [i for i in range(3) if i != first]
        second = min(rest, key=lambda i: float(((features[first] + features[i]) / 2 - mean).norm()))
        assert [item.candidates[item.chosen].seed for item in own] == [seeds[easier[i]] for i in (first, second)]


def test_the_network_of_coverage_is_trained_only_where_it_is_asked(tiny: Config) -> None:
    for name, wanted in (("dit-herded", False), ("dit", True)):
        (method,) = methods_used(with_method(with_values(tiny, {"stages.coverage": "herding"}), name))
        assert any(asset.name == "independent" for asset in method.assets) == wanted


def alone(resources: Resources, seed: int) -> Tensor:
    """Sample one image from a seed, unguided, without any other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lgd.distillation.methods.sampling.image_seed", lambda *_: seed)
        return sample_unguided(resources)[0].image.float()


def test_with_a_learner_the_better_half_competes(tiny: Config, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resources = covered(tiny, finished, 2)
    asked: list[int] = []

    def keep(self: module.Coverage, label: int, features: Tensor, count: int) -> list[int]:
        asked.append(len(features))
        return list(range(len(features)))[-count:]  # of the half, the worst by the rule

    monkeypatch.setattr(module.Coverage, "keep", keep)
    monkeypatch.setattr(Run, "real_class", lambda self, network, label: finished / "nowhere" / str(label))
    monkeypatch.setattr(module, "save_tensors", lambda *_: None)
    found = sample_lgd(resources)
    assert asked == [3, 3]  # of two slots with three candidates each
    for label in (2, 3):
        own = [item for item in found if item.label == label]
        pool = [candidate for item in own for candidate in item.candidates]
        valid = sorted(pool, key=lambda c: (c.valid, c.score), reverse=True)
        assert [item.candidates[item.chosen] for item in own] == valid[1:3]


def test_coverage_ends_after_its_last_increment(tiny: Config, finished: Path) -> None:
    resources = covered(tiny, finished, 2, stages_coverage_increments=1)
    assert resources.config.stages.coverage == "none"
    assert len(sample_unguided(resources)[0].candidates) == 1
    assert resources.growth.recipe(1).stages.coverage == "herding"
