from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from lgd.distillation.selection import select

SLOT = st.lists(st.tuples(st.floats(-5, 5, width=32), st.booleans()), min_size=3, max_size=3)


@given(st.lists(SLOT, min_size=1, max_size=5))
def test_against_a_plain_loop(slots: list[list[tuple[float, bool]]]) -> None:
    scores = torch.tensor([[score for score, _ in slot] for slot in slots])
    valid = torch.tensor([[ok for _, ok in slot] for slot in slots])
    for i, slot in enumerate(slots):
        everyone = list(range(3))
        good = [k for k in everyone if slot[k][1]] or everyone
        assert select(scores, valid, "score")[i] == max(everyone, key=lambda k: scores[i, k].item())
        assert select(scores, valid, "valid-first")[i] == max(good, key=lambda k: scores[i, k].item())
