"""Which candidate of a slot is kept."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class CandidateScores:
    """Measurements of the 8-bit images of N candidates, each (N,), or of S slots, each (S, kappa)."""

    score: Tensor
    """learnability"""
    learner_loss: Tensor
    """cross-entropy, mean over the learners"""
    reference_loss: Tensor
    """cross-entropy"""
    valid: Tensor
    """bool: the reference classifies the image correctly"""

    def by_slot(self, kappa: int) -> CandidateScores:
        """The same (S, kappa), from candidates that are listed slot after slot."""
        return CandidateScores(*(values.view(-1, kappa) for values in vars(self).values()))


def select(slots: CandidateScores, rule: str) -> Tensor:
    """Index of the kept candidate of each slot, (S,).

    `score`: the highest score. `valid-first`: the highest of the valid ones, or of all where none is valid. The first
    wins a tie.
    """
    scores = slots.score
    if rule == "valid-first":
        competes = slots.valid | ~slots.valid.any(dim=1, keepdim=True)
        scores = scores.masked_fill(~competes, float("-inf"))
    return scores.argmax(dim=1)
