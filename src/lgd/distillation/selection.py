"""The registry of selection rules: SELECTION_RULES, by the names that `stages.selection` takes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from torch import Tensor

from lgd.config import StagesConfig
from lgd.errors import UserError, nearest


@dataclass(frozen=True)
class CandidateScores:
    """Measurements of the 8-bit images of N candidates, each (N,), or of S slots, each (S, kappa)."""

    score: Tensor
    """learnability"""
    learner_loss: Tensor
    """cross-entropy in nats, mean over the learners"""
    reference_loss: Tensor
    """cross-entropy in nats"""
    valid: Tensor
    """bool: the reference classifies the image correctly"""

    def map(self, change: Callable[[Tensor], Tensor]) -> Self:
        """Return the measurements, each changed by a function: moved, reshaped or chosen from."""
        return type(self)(*map(change, vars(self).values()))

    def of(self, indices: Sequence[int] | Tensor) -> Self:
        """Return the measurements of some of N candidates, or of some of S slots."""
        return self.map(lambda values: values[indices])

    def by_slot(self, kappa: int) -> Self:
        """Return the same measurements as (S, kappa), from candidates that are listed slot after slot."""
        return self.map(lambda values: values.view(-1, kappa))


@dataclass(frozen=True)
class SelectionRule:
    """A way to choose one candidate of each slot."""

    choose: Callable[[CandidateScores, StagesConfig], Tensor]
    """takes measurements (S, kappa) and the settings; returns the index of the kept candidate of each slot, (S,)"""
    summary: str
    """one line about the rule"""
    asks_learner: bool = True
    """whether it needs the learner's loss; otherwise candidates of methods without a learner compete by it, too"""


def highest_score(slots: CandidateScores, stages: StagesConfig) -> Tensor:
    """Choose the highest score; the first wins a tie."""
    return slots.score.argmax(dim=1)


def highest_valid_score(slots: CandidateScores, stages: StagesConfig) -> Tensor:
    """Choose the highest score of the valid candidates, or of all where none is valid; the first wins a tie."""
    competes = slots.valid | ~slots.valid.any(dim=1, keepdim=True)
    return slots.score.masked_fill(~competes, float("-inf")).argmax(dim=1)


def easiest_unlearned(slots: CandidateScores, stages: StagesConfig) -> Tensor:
    """Choose the lowest reference loss of the valid candidates that the learner fails, as CCFS does.

    The learner fails above a loss of `stages.unlearned_above`. Without such a candidate, choose as `valid-first`.
    """
    unlearned = slots.valid & (slots.learner_loss > stages.unlearned_above)
    easiest = slots.reference_loss.masked_fill(~unlearned, float("inf")).argmin(dim=1)
    return easiest.where(unlearned.any(dim=1), highest_valid_score(slots, stages))


def easiest(slots: CandidateScores, stages: StagesConfig) -> Tensor:
    """Choose the lowest reference loss; the first wins a tie. It asks no learner."""
    return slots.reference_loss.argmin(dim=1)


SELECTION_RULES = {
    "score": SelectionRule(highest_score, "the highest score"),
    "valid-first": SelectionRule(highest_valid_score, "the highest score of those that the reference recognises"),
    "easiest-unlearned": SelectionRule(easiest_unlearned, "the easiest valid image that the learner has not learned"),
    "easiest": SelectionRule(easiest, "the easiest image; no learner is asked", asks_learner=False),
}


def ranked(candidates: CandidateScores, count: int, rule: SelectionRule, stages: StagesConfig) -> list[int]:
    """Return the indices of the `count` candidates, of N, that a rule chooses one after the other."""
    left, order = list(range(len(candidates.score))), []
    for _ in range(count):
        order.append(left.pop(int(rule.choose(candidates.of(left).by_slot(len(left)), stages))))
    return order


def chooses_alone(stages: StagesConfig) -> bool:
    """Return whether several candidates compete without a learner: by the selection rule, by coverage, or by both."""
    return stages.coverage != "none" or not rule_named(stages.selection).asks_learner


def rule_named(name: str) -> SelectionRule:
    """Return the selection rule of this name. Errors: UserError that lists the known ones."""
    if name not in SELECTION_RULES:
        raise UserError(f"stages.selection: unknown rule {name!r}{nearest(name, SELECTION_RULES)}")
    return SELECTION_RULES[name]
