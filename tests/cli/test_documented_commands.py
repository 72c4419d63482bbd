"""The commands in README, docs and benchmarks: the command line accepts each one as it is written."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lgd.cli import parsing
from lgd.cli.main import dispatch
from lgd.config import Config, load_config, presets

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("benchmarks/**/*.md"))]


class ParsedError(Exception):
    """The arguments were parsed."""


def commands() -> Iterator[Any]:
    """Yield the commands of all blocks of code, except those with an ellipsis."""
    for page in PAGES:
        if page.name != "bad-inputs.md":
            text = page.read_text(encoding="utf-8").replace("\\\n", " ")
            for line in re.findall(r"^(?:    |        )?(?:PYTHONPATH=\. )?(lgd .*)$", text, re.MULTILINE):
                words = shlex.split(line, comments=True)[1:]
                if "..." not in words:
                    yield pytest.param(words, id=f"{page.name}: {' '.join(words)[:60]}")


def read_config(name: str, dataset: object = None) -> Config:
    """Read a preset, or the digits' for images and files that only the reader of a page has."""
    return load_config(name if name in presets() else "digits")


@pytest.mark.parametrize("words", commands())
def test_documented_commands_parse(words: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    parse = parsing.parse

    def parse_and_stop(*arguments: Any) -> None:
        parse(*arguments)
        raise ParsedError

    monkeypatch.setattr(parsing, "parse", parse_and_stop)
    monkeypatch.setattr(parsing, "load_config", read_config)
    with pytest.raises((ParsedError, SystemExit)) as stop:  # SystemExit after printing help
        dispatch(list(words))
    assert not getattr(stop.value, "code", 0)


def test_the_pages_have_commands() -> None:
    assert len(list(commands())) > 40
