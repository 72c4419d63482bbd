"""The commands `lgd doctor` and `lgd completion`."""

from argparse import ArgumentParser
from dataclasses import dataclass, fields
from typing import Any, Literal

import shtab
from tyro.conf import Positional

from lgd.config import presets

from .help import SHORT, parser_of
from .main import COMMANDS, options_of


@dataclass(frozen=True)
class DoctorOptions:
    """Show versions, the processor, devices, precisions, memory and the cache of this machine, for bug reports."""


@dataclass(frozen=True)
class CompletionOptions:
    """Print a script with which a shell completes commands, presets and options (docs/command-line.md)."""

    shell: Positional[Literal["bash", "zsh", "tcsh"]]
    """Shell that runs the script."""


def doctor(options: DoctorOptions) -> None:
    from lgd.profiling.doctor import doctor

    print(doctor(), end="")


def completion(options: CompletionOptions) -> None:
    print(shtab.complete(whole_parser(), options.shell))


def whole_parser() -> ArgumentParser:
    whole = ArgumentParser("lgd", add_help=False)
    whole.add_argument("-h", "--help", action="store_true", help="show the commands")
    whole.add_argument("-V", "--version", action="store_true", help="show the version")
    commands: Any = whole.add_subparsers()
    verbs: dict[str, Any] = {}
    for name in COMMANDS:
        part = options_of(name)
        command, _, verb = name.partition(" ")
        if verb and command not in verbs:
            verbs[command] = commands.add_parser(command, help=f"verbs of lgd {command}").add_subparsers()
        made = (verbs[command] if verb else commands).add_parser(verb or command, help=str(part.__doc__).split(".")[0])
        add_options(made, part)
    return whole


def add_options(made: ArgumentParser, part: type) -> None:
    """Add a command's options, their short forms and its first argument to a parser, without their defaults."""
    short: dict[str, list[str]] = {}
    for word, long in SHORT.items():
        short.setdefault(long, []).append(word)
    if "config" in {field.name for field in fields(part)}:
        made.add_argument("preset", choices=[*presets()])
    for action in parser_of(part, "lgd")._actions:
        names = [name for long in action.option_strings for name in (*short.get(long, []), long)]
        if "-h" in names or not (action.metavar or names):
            continue
        if action.metavar is None:
            made.add_argument(*names, action="store_true", help=action.help)
            continue
        added: Any = made.add_argument(*(names or [action.dest]), help=action.help, choices=action.choices)
        if not action.choices and "INT" not in str(action.metavar) and "FLOAT" not in str(action.metavar):
            added.complete = shtab.FILE
