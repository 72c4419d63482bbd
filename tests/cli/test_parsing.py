"""Command lines are parsed with the sections that they name, to what all sections give."""

from __future__ import annotations

import pytest
import tyro

from lgd.cli.experiments import AblateOptions, CompareOptions, DistillOptions
from lgd.cli.parsing import parse, parse_sections
from lgd.config import load_config
from lgd.errors import UserError

CASES = {
    "a field": (DistillOptions, "--out run --guidance.omega 0.5"),
    "fields of several sections": (
        DistillOptions,
        "--out run --stages.increments=3 --dataset.skip-broken --seed 4 --no-quiet",
    ),
    "a section within a section": (DistillOptions, "--learner.training.epochs 3 --out run --per-class 20"),
    "tuples": (CompareOptions, "--methods dit lgd --out runs --guidance.window 2 5"),
    "no field": (AblateOptions, "--over seed=1,2 --over guidance.omega=1 --out runs"),
}


@pytest.mark.parametrize(("options", "line"), CASES.values(), ids=CASES)
def test_the_named_sections_give_what_all_give(options: type, line: str) -> None:
    config = load_config("digits")
    required = ("methods", "over", "out")
    default = options(**{n: tyro.MISSING for n in required if n in options.__annotations__}, config=config)
    names = frozenset(word[2:].partition("=")[0].partition(".")[0].replace("-", "_") for word in line.split())
    found = parse_sections(options, line.split(), default, names)
    assert found == tyro.cli(options, args=line.split(), default=default)
    assert type(found) is options


def test_a_misspelt_field_is_compared_with_those_of_all_sections() -> None:
    default = DistillOptions(out="run", config=load_config("digits"))
    with pytest.raises(UserError, match=r"--guidance\.omega"):
        parse(DistillOptions, "lgd distill digits", ["--guidanc.omega", "1"], default)
