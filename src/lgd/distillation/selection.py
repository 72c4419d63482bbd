"""Which candidate of a slot stays."""

from __future__ import annotations

from torch import Tensor


def select(scores: Tensor, valid: Tensor, rule: str) -> Tensor:
    """Index of the kept candidate of each slot, (S,), from scores (S, kappa) and valid (S, kappa, bool).

    `score`: the highest score. `valid-first`: the highest of the valid ones, or of all where none is valid. The first
    wins a tie.
    """
    if rule == "valid-first":
        competes = valid | ~valid.any(dim=1, keepdim=True)
        scores = scores.masked_fill(~competes, float("-inf"))
    return scores.argmax(dim=1)
