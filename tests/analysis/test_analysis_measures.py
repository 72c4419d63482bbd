"""Every measure against an analytic case, an obvious loop, or an independent computation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lgd.analysis import dynamics, incremental, redundancy
from lgd.analysis.collect import groups
from lgd.analysis.context import AnalysisConfig, AnalysisContext, Inputs
from lgd.analysis.dynamics import BORDERS, histogram, jensen_shannon, shares
from lgd.analysis.fidelity import fid, kid, precision, recall
from lgd.analysis.inputs import AnalysedSet, split_into_increments
from lgd.analysis.neighbours import compare_to_real, copies, exact_copies, nearest
from lgd.analysis.registry import MEASURES
from lgd.analysis.validity import correlation
from lgd.classifiers.train import accuracy, train_classifier
from lgd.config import ClassifierConfig, Config, DatasetConfig, TrainingConfig
from lgd.data.imageset import ImageSet, concatenate, to_float
from lgd.data.splits import cached_splits, load_splits
from lgd.distillation.judge import load_judge
from lgd.distillation.recipe import assets_of
from lgd.rng import derive_seed, generator

SMALL = ClassifierConfig(width=8, training=TrainingConfig(epochs=4, learning_rate=0.01))


@pytest.fixture(scope="module")
def digits() -> ImageSet:
    return load_splits(DatasetConfig()).train


def inputs(increments: list[ImageSet], classifier: ClassifierConfig = SMALL, epochs: int = 6, **place: int) -> Inputs:
    """Inputs of a measure that needs no judge, beside the digits as real images. place: seed and increment."""
    config = AnalysisConfig(epochs=epochs)
    context = AnalysisContext(assets_of(Config(), Path("none"), "cpu"), classifier, config)
    return Inputs(context, AnalysedSet(tuple(increments)), **place)


def noise_set(seed: int, count: int, classes: int = 4) -> ImageSet:
    """Random images with random labels, which nothing learned elsewhere can tell."""
    draw = generator("noise set", seed)
    images = torch.randint(0, 256, (count, 1, 8, 8), generator=draw, dtype=torch.uint8)
    labels = torch.randint(0, classes, (count,), generator=draw)
    return ImageSet(images, labels, tuple(map(str, range(classes))))


def told(given: Inputs) -> list[float]:
    accuracies: list[float] = redundancy.compute(given)["accuracy"]
    return accuracies


def test_redundancy_of_identical_increments_is_training_accuracy(digits: ImageSet) -> None:
    part = digits.subset(range(30))
    row = redundancy.compute(inputs([part, part], seed=1))
    again = train_classifier(part, SMALL, derive_seed("analysis", "redundancy", 1))
    assert row == {"accuracy": [accuracy(again, part)] * 2, "classes": 10}


def test_redundancy_trains_on_the_part_it_is_told(digits: ImageSet) -> None:
    a, b = digits.subset(range(30)), digits.subset(range(30, 80))
    assert told(inputs([a, b], increment=1)) == told(inputs([b, a]))[::-1]


def test_redundancy_of_label_noise_is_chance() -> None:
    thorough = ClassifierConfig(width=16, training=TrainingConfig(epochs=40, learning_rate=0.01, crop_padding=0))
    parts = [noise_set(0, 40), noise_set(1, 2000)]
    own, other = told(inputs(parts, thorough))
    assert own > 90
    assert abs(other - 25) < 4  # four standard deviations of 2000 throws at one in four


def entry(group: str, off_diagonal: float | None, gain: list[float] | None = None) -> dict[str, Any]:
    """A set's entry in analysis.json with two measures' results; the others are None, as for a set of one increment."""
    found: dict[str, Any] = {"group": group, **dict.fromkeys(MEASURES)}
    if off_diagonal is not None:
        found["redundancy"] = {"mean_off_diagonal": off_diagonal, "above_chance": off_diagonal - 60}
        found["incremental"] = {"mean_jump": {"mean": 0.5}, "gain": gain}
    return found


def test_groups_average_their_sets() -> None:
    """Numbers: mean, deviation and count. Lists: the mean of the longest. The reduction is relative to `dit`."""
    a, b = entry("lgd", 50.0, [4.0, 1.0]), entry("lgd", 70.0, [2.0, 3.0])
    sets = {
        "a": a,
        "b": b,
        "short": entry("lgd", 60.0, [9.0]),
        "base": entry("dit", 80.0, [1.0]),
        "c": entry("c", None),
    }
    found = groups(sets)
    assert {key: found["lgd"]["redundancy"][key] for key in ("mean", "std", "n")} == {"mean": 60.0, "std": 10.0, "n": 3}
    assert found["lgd"]["gain"] == {"mean": [3.0, 2.0], "n": 2}
    assert [found[name]["redundancy_reduction_vs_dit"] for name in ("lgd", "dit", "c")] == [25.0, 0.0, None]
    above = [found[name]["redundancy_above_chance_reduction_vs_dit"] for name in ("lgd", "dit")]
    assert above == [100.0, 0.0]
    assert (found["lgd"]["sets"], found["c"]["redundancy"], found["c"]["gain"]) == (3, None, None)
    assert "redundancy_reduction_vs_dit" not in groups({"a": a, "zero": entry("dit", 0.0, [1.0])})["lgd"]


def test_incremental_training_adds_up(digits: ImageSet) -> None:
    parts = [digits.subset(range(k, 60, 3)) for k in range(3)]
    found = incremental.compute(inputs(parts))
    curve = found["curve"]
    assert len(curve) == 3 * 7
    assert found["jump"] == pytest.approx([curve[7] - curve[6], curve[14] - curve[13]])
    assert sum(found["gain"]) == pytest.approx(found["accuracy"][-1] - found["accuracy"][0])
    # The loss on arrival is the mean over the images that were there and those that came.
    old, new = curve[6] * 20, sum(found["difficulty"][0])
    assert curve[7] == pytest.approx((old + new) / 40, rel=1e-4)


def test_a_repeated_increment_makes_no_jump(digits: ImageSet) -> None:
    part = digits.subset(range(20))
    found = incremental.compute(inputs([part, part]))
    assert found["jump"][0] == pytest.approx(0, abs=1e-6)


def test_dynamics_are_mean_and_deviation(digits: ImageSet) -> None:
    part = digits.subset(range(40))

    def after(epochs: int) -> tuple[Tensor, Tensor]:
        found = dynamics.compute(inputs([part], epochs=epochs))
        return torch.tensor(found["mean"]), torch.tensor(found["deviation"])

    mean, deviation = after(3)
    assert mean.shape == deviation.shape == (40,)
    assert ((mean >= 0) & (mean <= 1) & (deviation >= 0) & (deviation <= 0.5)).all()
    one, nothing = after(1)
    assert (nothing == 0).all()
    two_mean, two_deviation = after(2)
    second = 2 * two_mean - one  # the same seed, so the first epoch is the same
    assert torch.allclose(two_deviation, (second - one).abs() / 2, atol=1e-5)


def test_shares_by_hand() -> None:
    high = BORDERS["deviation"]
    mean, deviation = [0.9, 0.5, 0.1, 0.9, 0.1], [0.0, high - 0.01, 0.1, high, 0.4]
    assert shares(mean, deviation) == pytest.approx({"easy": 40, "informative": 40, "hard": 20})


def test_histogram_against_a_loop() -> None:
    draw = np.random.default_rng(0)
    mean, deviation = draw.random(500).tolist(), (draw.random(500) / 2).tolist()
    counts = np.zeros((10, 10))
    for m, d in zip(mean, deviation, strict=True):
        counts[int(m * 10), int(d * 20)] += 1
    assert np.allclose(histogram(mean, deviation), counts / 500)
    assert histogram([1.0], [0.5])[-1, -1] == 1
    assert histogram([1.0], [0.5000001])[-1, -1] == 1  # a deviation rounded beyond the largest that is possible


def test_divergence_of_equal_and_disjoint() -> None:
    p = histogram(np.random.default_rng(1).random(50).tolist(), [0.0] * 50)
    q = np.roll(p, 1, axis=1)
    assert jensen_shannon(p, p) == 0
    assert jensen_shannon(p, q) == pytest.approx(1, abs=1e-12)
    # SciPy's distance is NaN where rounding makes the divergence negative.
    tenth = np.array([0.1, 0.9])
    close = [jensen_shannon(tenth, tenth + np.array([i, j]) * 1e-16) for i in range(-3, 4) for j in range(-3, 4)]
    assert all(0 <= value < 1e-12 for value in close)


@given(st.lists(st.integers(0, 9), min_size=4, max_size=4), st.lists(st.integers(0, 9), min_size=4, max_size=4))
def test_divergence_against_a_loop(a: list[int], b: list[int]) -> None:
    a, b = [x + (i == 0) for i, x in enumerate(a)], [x + (i == 1) for i, x in enumerate(b)]
    p, q = (np.array(x) / sum(x) for x in (a, b))
    expected = 0.0
    for x, y in zip(p.tolist(), q.tolist(), strict=True):
        for part in (x, y):
            if part:
                expected += part * np.log2(part / ((x + y) / 2)) / 2
    value = jensen_shannon(p, q)
    assert value == pytest.approx(expected, abs=1e-9)
    assert 0 <= value <= 1
    assert value == pytest.approx(jensen_shannon(q, p), abs=1e-12)


def features(seed: int, count: int, shift: float = 0.0) -> Tensor:
    return torch.randn(count, 6, generator=generator("features", seed)) + shift


def test_fid_of_a_set_with_itself_is_zero() -> None:
    x = features(0, 200)
    assert fid(x, x) == pytest.approx(0, abs=1e-6)
    assert fid(x[:1], x) is None


def test_fid_against_its_formula() -> None:
    x, y = features(0, 300).double(), features(1, 200, 0.5).double() * 1.3
    root = scipy.linalg.sqrtm((torch.cov(x.T) @ torch.cov(y.T)).numpy()).real
    expected = (
        (x.mean(0) - y.mean(0)).square().sum() + torch.cov(x.T).trace() + torch.cov(y.T).trace() - 2 * root.trace()
    )
    assert fid(x, y) == pytest.approx(float(expected), rel=1e-6)


def test_fid_and_kid_against_torchmetrics_on_random_features() -> None:
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import poly_mmd

    class Flat(torch.nn.Module):
        num_features = 6

        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1)

    x, y = features(2, 150), features(3, 150, 0.3)
    theirs = FrechetInceptionDistance(feature=Flat())
    theirs.update(x.view(-1, 1, 2, 3), real=True)
    theirs.update(y.view(-1, 1, 2, 3), real=False)
    assert fid(x, y) == pytest.approx(theirs.compute().item(), rel=1e-3)
    found = kid(x, y, seed=0)
    assert found is not None
    assert found["mean"] == pytest.approx(poly_mmd(x, y, 3, None, 1.0).item(), rel=1e-3)  # a subset is the whole set


def test_kid_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (kid(features(4, 50), features(5, 20), seed) for seed in (1, 1, 2))
    assert first == again != other
    assert torch.equal(torch.random.get_rng_state(), before)


def test_precision_and_recall_against_loops() -> None:
    x, y = features(6, 40), features(7, 25, 0.8)

    def inside(points: Tensor, support: Tensor) -> float:
        hits = 0
        for point in points:
            for one in support:
                radius = sorted(float((one - other).norm()) for other in support)[3]
                if float((point - one).norm()) <= radius:
                    hits += 1
                    break
        return 100 * hits / len(points)

    assert (precision(x, y), recall(x, y)) == pytest.approx((inside(y, x), inside(x, y)))
    assert precision(x, y) != recall(x, y)
    assert (precision(x, x), recall(x, x)) == (100, 100)
    assert (precision(x, x + 100), recall(x, x + 100)) == (0, 0)
    assert (precision(x[:3], y), recall(x, y[:3])) == (None, None)
    assert recall(x, y, chunk=7) == recall(x, y)


def test_nearest_against_a_loop() -> None:
    x, y = features(8, 30), features(9, 50)
    distance, place = nearest(x, y.split(11), chunk=7)
    for i, row in enumerate(x):
        d = [(row - other).norm().item() for other in y]
        assert place[i] == int(np.argmin(d))
        assert distance[i].item() == pytest.approx(min(d), abs=1e-5)
    own = torch.arange(50).where(torch.arange(50) % 5 > 0, -1)
    away, other = nearest(y, y.split(13), own, chunk=8)
    for i in range(50):
        d = [(y[i] - row).norm().item() if j != own[i] else np.inf for j, row in enumerate(y)]
        assert other[i] == int(np.argmin(d))
        assert away[i].item() == pytest.approx(min(d), abs=1e-5)
    assert torch.equal(nearest(torch.cat([x, x]), [y, y])[1][:30], place)  # the first of equals


def test_copies_are_found(digits: ImageSet) -> None:
    real = digits.subset(range(100))
    flat = real.images.flatten(1).float()
    some = torch.arange(0, 100, 3)
    found = compare_to_real(flat[[3, 7]], flat[some], some, flat.split(30))
    assert (found["near"], found["nearest"]) == (100.0, [3, 7])
    assert exact_copies(real.subset([3, 7, 8]), real, torch.tensor([3, 7, 9])).tolist() == [True, True, False]
    fresh = digits.subset(range(200, 300))
    found = compare_to_real(fresh.images.flatten(1).float(), flat[some], some, [flat])
    assert not exact_copies(fresh, real, torch.tensor(found["nearest"])).any()
    rows = [row / row.norm() for row in flat]
    among = sorted(min((rows[i] - rows[j]).norm().item() for j in range(100) if j != i) for i in some.tolist())
    assert found["median_distance_among_real"] == pytest.approx(among[(len(among) - 1) // 2], abs=1e-5)


def test_correlation() -> None:
    assert correlation([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]) == pytest.approx(1)
    assert correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) is None
    assert correlation([1.0, 2.0], [1.0, 2.0]) is None


def test_split_is_a_partition_by_class_and_seed(digits: ImageSet) -> None:
    whole = digits.subset(range(200))
    parts = split_into_increments(whole, 3, seed=0)
    assert sorted(image.numpy().tobytes() for image in concatenate(parts).images) == sorted(
        image.numpy().tobytes() for image in whole.images
    )
    for label in range(10):
        counts = [len(part.indices_of(label)) for part in parts]
        assert max(counts) - min(counts) <= 1
    again, other = split_into_increments(whole, 3, seed=0), split_into_increments(whole, 3, seed=1)
    assert torch.equal(parts[0].images, again[0].images)
    assert not torch.equal(parts[0].images, other[0].images)


def test_copies_against_a_loop(finished: Path, tiny: Config) -> None:
    """Copies, their neighbours in grey and other images; some of them with an anchor."""
    assets, train = assets_of(tiny, finished, "cpu"), cached_splits(tiny.dataset).train
    same, paler = train.pixels(torch.tensor([5, 70])), train.pixels(torch.arange(100, 104))
    images = ImageSet(
        torch.cat([same, paler - paler // 40, 255 - train.pixels(torch.tensor([9, 30]))]),
        torch.zeros(8, dtype=torch.long),
        train.class_names,
    )
    anchors = [5, 6, 100, 200, -1, -1, 9, -1]
    judge = load_judge(assets)

    def direction(image: Tensor) -> Tensor:
        feature = judge.features(to_float(image[None]))[0]
        return feature / feature.norm()

    with torch.no_grad():
        real, mine = ([direction(image) for image in one.images] for one in (train, images))
    table = torch.stack(real)
    others = [torch.cat([table[:i], table[i + 1 :]]) for i in range(len(table))]
    among = [(rest - row).norm(dim=1).min().item() for rest, row in zip(others, real, strict=True)]
    limit = float(np.quantile(among, 0.01))
    near = [(table - row).norm(dim=1).min().item() <= limit for row in mine]
    exact = [any(torch.equal(image, one) for one in train.images) for image in images.images]
    own = [(mine[i] - real[at]).norm().item() <= limit for i, at in enumerate(anchors) if at >= 0]
    found = copies(assets, images, torch.tensor(anchors))
    assert found == {"exact": 100 * sum(exact) / 8, "near": 100 * sum(near) / 8, "anchor": 100 * sum(own) / len(own)}
    assert sum(exact) == 2 < sum(near) < 8
    assert 0 < sum(own) < len(own)
    assert copies(assets, images, torch.full((8,), -1)) == {**found, "anchor": None}
