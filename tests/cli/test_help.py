"""The pages of help, short forms of options, completion, and the support commands."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from lgd import __version__
from lgd.cli.experiments import DistillOptions
from lgd.cli.main import COMMANDS, USAGE, main, options_of
from lgd.cli.parsing import parse, preset_first
from lgd.config import Config
from lgd.errors import UserError

WITH_FIELDS = [name for name in COMMANDS if "config" in {field.name for field in fields(options_of(name))}]
MAIN = ("-o, --out", "--per-class", "--increments", "--method", "--seed", "--device", "--workers", "--overwrite")


def printed(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return what a command prints before it ends by itself."""
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = int(stop.code or 0)
    assert code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", WITH_FIELDS)
def test_the_short_page_fits_a_screen(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed([*command.split(), "--help"], capsys)
    assert len(text.splitlines()) < 60
    assert max(map(len, text.splitlines())) <= 100
    assert text.startswith(f"usage: lgd {command} PRESET_OR_TOML ")
    assert "--help-all" in text
    assert "--influence" not in text


def test_the_main_options_are_on_the_short_page(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(["distill", "-h"], capsys)
    assert [name for name in MAIN if f"  {name}" not in text] == []


def names_of(part: type, prefix: str = "--") -> Iterator[str]:
    """Yield the dotted options of a configuration, by a walk over its dataclasses."""
    for field in fields(part):
        name = prefix + field.name.replace("_", "-")
        kind = field.default_factory
        if isinstance(kind, type) and is_dataclass(kind):
            yield from names_of(kind, f"{name}.")
        else:
            yield name


def test_help_all_has_every_field_of_the_method(capsys: pytest.CaptureFixture[str]) -> None:
    from lgd.cli.help import SHORT

    short = {long: word for word, long in SHORT.items()}
    pages = {
        method: printed(["distill", "digits", "--method", method, "--help-all"], capsys) for method in ("igd", "lgd")
    }
    every = [name for name in names_of(Config) if not name.startswith(("--modes", "--learner", "--real"))]
    assert len(every) > 100
    assert [name for name in every if f"  {short.get(name, name)}" not in pages["igd"]] == []
    assert "--influence" not in pages["lgd"]
    assert "--learner.width" in pages["lgd"]
    assert "--modes" not in pages["lgd"]
    assert "--modes.strength" in printed(["compare", "digits", "--methods", "lgd", "mgd3", "--help-all"], capsys)
    assert "--guidance" not in printed(["reference", "train", "--help-all"], capsys)


def test_version_and_help_in_several_spellings(capsys: pytest.CaptureFixture[str]) -> None:
    assert {printed([word], capsys) for word in ("version", "-V", "--version")} == {f"lgd {__version__}\n"}
    assert len({printed([word], capsys) for word in ("help", "-h", "--help")}) == 1
    assert printed(["help", "distill"], capsys) == printed(["distill", "--help"], capsys)


def config_of(*arguments: str) -> Config:
    _, config, rest = preset_first("distill", ["digits", "-o", "OUT", *arguments])
    return parse(DistillOptions, "lgd distill digits", rest, DistillOptions("", config=config)).config


def test_the_size_of_the_set_is_divided_among_the_increments() -> None:
    assert config_of("--per-class", "20").stages.images_per_increment == 4
    stages = config_of("--per-class=6", "--increments", "3").stages
    assert (stages.increments, stages.images_per_increment) == (3, 2)
    assert config_of("--device", "cpu", "--workers", "3").compute.workers == 3
    stages = config_of("--per-class", "12").stages
    assert (stages.increments, stages.images_per_increment) == (4, 3)
    for increments in ([], ["--increments", "5"]):
        with pytest.raises(UserError, match="7 images per class cannot be divided into 5 equal increments"):
            config_of("--per-class", "7", *increments)
    with pytest.raises(UserError, match="12 images per class cannot be divided into 5 equal increments"):
        config_of("--per-class", "12", "--increments=5")
    with pytest.raises(UserError, match="both set the size"):
        config_of("--per-class", "10", "--stages.images-per-increment", "2")


def test_usage_and_completion_know_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    names = {name.split()[0] for name in COMMANDS}
    listed = USAGE.partition("commands:\n")[2].partition("\n\n")[0]
    assert set(re.findall(r"^  (\w+)", listed, re.MULTILINE)) == {*names, "help", "version"}
    script = printed(["completion", "bash"], capsys)
    assert {word for name in COMMANDS for word in name.split()} <= set(re.findall(r"[a-z]+", script))


def test_completion_in_bash(capsys: pytest.CaptureFixture[str]) -> None:
    script = printed(["completion", "bash"], capsys)
    for line, expected in (
        ("lgd dis", {"distill"}),
        ("lgd generator t", {"train"}),
        ("lgd distill dig", {"digits"}),
        ("lgd distill digits --per", {"--per-class"}),
        ("lgd compare digits --guidance.om", {"--guidance.omega"}),
    ):
        cursor = len(line.split()) - 1
        ask = f"COMP_WORDS=({line}); COMP_CWORD={cursor}; _shtab_lgd; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        found = subprocess.run(["bash"], input=f"{script}\n{ask}", capture_output=True, text=True, check=True)
        assert set(found.stdout.split()) == expected, line


def test_doctor(capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    (cache / "lgd").mkdir(exist_ok=True)
    text = printed(["doctor"], capsys)
    rows = dict(line.split(None, 1) for line in text.splitlines() if not line.startswith("device"))
    assert set(rows) == {"lgd", "python", "packages", "processor", "memory", "cache", "variables"}
    assert rows["cache"].startswith(f"{cache / 'lgd'}: ")
    assert "device cpu" in text
    assert any(word in text for word in ("bfloat16 native, takes", "bfloat16 emulated, takes"))
