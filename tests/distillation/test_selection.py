"""Selection rules against plain loops."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.worked_examples import worked_example

from lgd.config import StagesConfig
from lgd.distillation.selection import SELECTION_RULES, CandidateScores, SelectionRule, rule_named
from lgd.errors import UserError

LOSS = st.floats(0, 5, width=32)
SLOT = st.lists(st.tuples(st.floats(-5, 5, width=32), LOSS, LOSS, st.booleans()), min_size=3, max_size=3)
Slots = list[list[tuple[float, float, float, bool]]]


def measured(slots: Slots) -> CandidateScores:
    """Return the measurements of slots of three candidates."""
    columns = zip(*(candidate for slot in slots for candidate in slot), strict=True)
    return CandidateScores(*map(torch.tensor, columns)).by_slot(3)


@given(st.lists(SLOT, min_size=1, max_size=5))
def test_against_a_plain_loop(slots: Slots) -> None:
    settings = StagesConfig(unlearned_above=2)
    chosen = {name: rule.choose(measured(slots), settings) for name, rule in SELECTION_RULES.items()}
    for i, slot in enumerate(slots):
        valid = [k for k in range(3) if slot[k][3]] or range(3)
        assert chosen["score"][i] == max(range(3), key=lambda k: slot[k][0])
        best = max(valid, key=lambda k: slot[k][0])
        assert chosen["valid-first"][i] == best
        assert chosen["easiest"][i] == min(range(3), key=lambda k: slot[k][2])
        unlearned = [k for k in range(3) if slot[k][3] and slot[k][1] > 2]
        assert chosen["easiest-unlearned"][i] == (min(unlearned, key=lambda k: slot[k][2]) if unlearned else best)


@given(st.lists(SLOT, min_size=1, max_size=5))
def test_the_worked_example_of_the_documentation(slots: Slots) -> None:
    ((name, rule),) = worked_example(
        "../CONTRIBUTING.md", "Add a selection rule", {"SelectionRule": SelectionRule}
    ).items()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SELECTION_RULES, name, rule)
        chosen = rule_named(name).choose(measured(slots), StagesConfig())
    assert chosen.tolist() == [max(range(3), key=lambda k: slot[k][1]) for slot in slots]


def test_an_unknown_rule_is_named_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"stages.selection: unknown rule 'scores'; did you mean 'score'\?"):
        rule_named("scores")
