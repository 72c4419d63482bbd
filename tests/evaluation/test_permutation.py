"""Sets whose labels are in another order are told."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lgd.config import Config
from lgd.data.splits import cached_splits
from lgd.evaluation.permutation import Permutation, agreed, described, order_of, permutation_of
from lgd.experiments.evaluate import evaluate


def predictions(truth: Tensor, fits: Sequence[int], accuracy: float, classes: int, seed: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    right = torch.rand(len(truth), generator=draw) < accuracy
    return torch.where(right, torch.tensor(fits)[truth], torch.randint(classes, truth.shape, generator=draw))


@pytest.mark.parametrize("accuracy", [0.25, 0.5, 0.95])
@pytest.mark.parametrize("fits", [(1, 2, 3, 4, 5, 6, 7, 8, 9, 0), (0, 1, 2, 3, 4, 5, 6, 7, 9, 8), tuple(range(10))])
def test_a_permutation_is_found_where_there_is_one(fits: tuple[int, ...], accuracy: float) -> None:
    for seed in range(20):
        truth = torch.arange(10).repeat_interleave(100)
        found = permutation_of(truth, predictions(truth, fits, accuracy, 10, seed), 10)
        if fits == tuple(range(10)):
            assert found is None
        elif accuracy > 0.25 or fits[0] == 1:  # two of ten classes at 25 % are too few to tell
            assert found is not None
            assert found.fits == fits


def test_guessing_is_no_permutation() -> None:
    truth = torch.arange(10).repeat_interleave(50)
    assert [permutation_of(truth, predictions(truth, [0] * 10, 0.0, 10, seed), 10) for seed in range(50)] == [None] * 50
    assert permutation_of(truth, torch.zeros_like(truth), 10) is None  # one class for all images


def test_it_is_the_best_of_all_permutations() -> None:
    truth = torch.arange(4).repeat_interleave(60)
    predicted = predictions(truth, (2, 0, 3, 1), 0.6, 4, 0)
    scores = {p: int((predicted == torch.tensor(p)[truth])[::2].sum()) for p in permutations(range(4))}
    found = permutation_of(truth, predicted, 4)
    assert found is not None
    assert found.fits == max(scores, key=scores.__getitem__)
    share = (predicted == torch.tensor(found.fits)[truth]).double().mean().item()
    assert found.accuracy == pytest.approx(100 * share)


def test_most_classifiers_of_a_set_have_to_agree() -> None:
    one, other = {"fits": [1, 0], "accuracy": 80.0}, {"fits": [1, 0], "accuracy": 90.0}
    assert agreed([one, other, None]) == Permutation((1, 0), 85.0)
    assert agreed([one, None]) is None
    assert agreed([None]) is None


@pytest.mark.parametrize(
    ("counted", "read", "told"),
    [
        (("b", "ä", "z"), ("b", "z", "ä"), "of their percent-encoded names"),
        (("x", "m", "a"), ("a", "m", "x"), "backwards"),
        (("a", "B", "c"), ("B", "a", "c"), "without regard to case"),
    ],
)
def test_common_orders_are_named(counted: tuple[str, ...], read: tuple[str, ...], told: str) -> None:
    """The set counts its classes in one order; its numbers were read in another."""
    names = tuple(sorted(read))
    if told.startswith("of their"):
        counted = tuple(sorted(names, key=lambda name: "%C3" if name == "ä" else name))
        assert counted == ("ä", "b", "z")
    fits = tuple(names.index(read[counted.index(name)]) for name in names)
    assert told in order_of(Permutation(fits, 0.0), names, read)
    assert order_of(Permutation((1, 2, 0), 0.0), ("p", "q", "r"), ("p", "q", "r")) == ""


def test_lgd_evaluate_says_which_permutation_fits(
    tiny: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train = cached_splits(tiny.dataset).train
    chosen = torch.cat([train.indices_of(label)[:30] for label in range(10)])
    images, labels = train.pixels(chosen), train.labels[chosen]
    changes = {
        "evaluation.classifier.width": 16,
        "evaluation.classifier.training.epochs": 30,
        "compute.workers": 1,
    }
    fits = [*range(1, 10), 0]
    torch.save((images, torch.tensor(fits)[labels]), tmp_path / "set.pt")
    with caplog.at_level(logging.WARNING):
        found = evaluate(tmp_path / "set.pt", "digits", 2, changes)
    assert found["permutation"]["fits"] == tuple(fits)
    assert found["permutation"]["accuracy"] > 60 > 20 > found["accuracy"]["mean"]
    (warning,) = [record.message for record in caplog.records if "permuted" in record.message]
    assert "take real images of '0' for '1', '1' for '2', '2' for '3', '3' for '4', '4' for '5' and 5 more" in warning
    assert f"they reach {found['permutation']['accuracy']:.1f} %, not {found['accuracy']['mean']:.1f} %" in warning
    torch.save({"images": images, "labels": labels}, tmp_path / "right.pt")
    caplog.clear()
    found = evaluate(tmp_path / "right.pt", "digits", 1, changes)
    assert found["permutation"] is None
    assert not [record for record in caplog.records if "permuted" in record.message]
    assert "permuted" in described(Permutation((1, 0), 90.0), ("a", "b"), ("a", "b"), 5.0)
