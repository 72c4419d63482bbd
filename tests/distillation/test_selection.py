from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from lgd.distillation.selection import CandidateScores, select

SLOT = st.lists(st.tuples(st.floats(-5, 5, width=32), st.booleans()), min_size=3, max_size=3)


@given(st.lists(SLOT, min_size=1, max_size=5))
def test_against_a_plain_loop(slots: list[list[tuple[float, bool]]]) -> None:
    scores = torch.tensor([score for slot in slots for score, _ in slot])
    valid = torch.tensor([ok for slot in slots for _, ok in slot])
    measured = CandidateScores(scores, scores, scores, valid).by_slot(3)
    for i, slot in enumerate(slots):
        everyone = list(range(3))
        good = [k for k in everyone if slot[k][1]] or everyone
        assert select(measured, "score")[i] == max(everyone, key=lambda k: slot[k][0])
        assert select(measured, "valid-first")[i] == max(good, key=lambda k: slot[k][0])
