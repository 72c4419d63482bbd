"""The help of a command: a short page with the options that most people need, or every option by section."""

import re
import shutil
import textwrap
import warnings
from argparse import Action, ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import tyro

from lgd.evaluation.protocols import PROTOCOLS
from lgd.export.formats import FORMATS

HELP = ("-h", "--help", "--help-all")
SHORT = {
    "-o": "--out",
    "--increments": "--stages.increments",
    "--device": "--compute.device",
    "--workers": "--compute.workers",
    "--engine": "--compute.engine",
    "--address": "--compute.address",
    "--epochs-factor": "--evaluation.epochs-factor",
    "--skip-broken": "--dataset.skip-broken",
}
"""Short forms of options, and the options they stand for."""
RUN = ("--method", "--seed", "--stages.increments", "--dataset.size", "--generator.source", "--generator.steps")
PLACE = ("--compute.device", "--compute.workers", "--compute.engine")
FIELDS = {
    "generator train": ("--dataset.size", "--generator.source", "--generator.tune", "--generator.size", *RUN[-1:]),
    "reference train": ("--dataset.size", "--reference.architecture", "--reference.training.epochs"),
    "select": ("--method", "--seed", "--dataset.size", "--reference.architecture", "--reference.training.epochs"),
}
"""Fields of the configuration on the short page of a command; of others, RUN."""
SECTIONS = {
    "generator train": {"dataset", "generator", "sampling", "compute"},
    "reference train": {"dataset", "reference", "compute"},
}
"""Sections of the configuration that a command reads; of others, those of the methods that it uses."""
SHARED = ("overwrite", "quiet")  # Options of most commands, which come last.
NO_DEFAULT = re.compile(r"\(default: (False|None|''|)\)")
"""defaults that say nothing"""
WIDEST = 100  # columns of a page on a wide terminal


def parser_of(options: type, program: str, default: Any = None) -> ArgumentParser:
    """Return tyro's parser of a dataclass of options."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the function is deprecated in tyro 1, and there is no other yet
        return tyro.extras.get_parser(options, prog=program, default=default, console_outputs=False)  # type: ignore


def page(options: type, program: str, default: Any, arguments: Sequence[str]) -> str:
    """Return the help that the arguments ask for: all options with --help-all, else the short page."""
    parser = parser_of(options, program, default)
    command = next((name for name in FIELDS if program.startswith(f"lgd {name} ")), program.split()[1])
    has_fields = "config" in {field.name for field in fields(options)}
    own = [action for action in rows_of(parser) if "." not in action.dest]
    own.sort(key=lambda action: (not is_required(action), action.dest in SHARED))
    if not has_fields or "--help-all" in arguments:
        used = sections(command, arguments) if has_fields else set()
        return head(options, program, own) + everything(parser, used) + choices(options)
    wanted = (*FIELDS.get(command, RUN), *PLACE)
    shown = [action for action in rows_of(parser) if action.option_strings[0] in wanted]
    shown.sort(key=lambda action: wanted.index(action.option_strings[0]))
    more = "Every other setting is an option, too, such as --guidance.omega 0.5; --help-all lists them."
    return head(options, program, own) + "\noptions:\n" + table([*own, *shown]) + f"\n{more}\n"


def head(options: type, program: str, own: Sequence[Action]) -> str:
    """Return the usage and the sentence about a command."""
    required = " ".join(f"{action.option_strings[0]} {kind(action)}" for action in own if is_required(action))
    positional = [field.name.upper() for field in fields(options) if "Positional" in str(field.type)]
    words = " ".join(word for word in (program, *positional, required, "[options]") if word)
    return f"usage: {words}\n\n{textwrap.fill(' '.join(str(options.__doc__).split()), width())}\n"


def rows_of(parser: ArgumentParser) -> Iterator[Action]:
    """Yield the options of a parser, without -h, in their order."""
    return (action for action in parser._actions if action.option_strings and "-h" not in action.option_strings)


def is_required(action: Action) -> bool:
    """Return whether a command needs an option."""
    return "(required)" in str(action.help)


def kind(action: Action) -> str:
    """Return the kind of an option's value; empty for a switch."""
    words = str(action.metavar or "").removeprefix("{None}|").replace("{None,", "{")
    return re.sub(r"\[(\w+) \[\1 \.\.\.\]\]", r"\1 ...", words)


def everything(parser: ArgumentParser, used: set[str]) -> str:
    """Return every option by section, without the sections of the configuration that are not used."""
    text, left_out = "", False
    for group in parser._action_groups:
        rows = [action for action in group._group_actions if "-h" not in action.option_strings]
        rows.sort(key=lambda action: action.dest in SHARED)
        title = {"positional arguments": "arguments"}.get(str(group.title), str(group.title).removesuffix(" options"))
        if rows and (title in ("arguments", "options") or title.split(".")[0] in used):
            about = f": {group.description}" if group.description and title != "options" else ":"
            text += f"\n{title}{about}\n{table(rows)}"
        else:
            left_out = left_out or bool(rows)
    if left_out:
        text += "\nSections that are not read here are left out; --method NAME or --methods NAME ... shows others.\n"
    return text


def sections(command: str, arguments: Sequence[str]) -> set[str]:
    """Return the sections of the configuration that a command with these arguments reads."""
    if command in SECTIONS:
        return SECTIONS[command]
    names = [word for flag in ("--method", "--methods") for word in values_of(flag, arguments)]
    from lgd.distillation.methods import METHODS, method_named, sections_used

    names = [*METHODS] if "auto" in names else names
    used = [method_named(name) for name in names or (["lgd"] if command == "distill" else METHODS)]
    seeds = [METHODS["dit"]] if any(method.needs_learner for method in used) else []
    return sections_used([*used, *seeds])


def values_of(flag: str, arguments: Sequence[str]) -> list[str]:
    """Return the words after an option, up to the next option."""
    words = [part for word in arguments for part in (word.split("=", 1) if word.startswith(f"{flag}=") else [word])]
    if flag not in words:
        return []
    after = words[words.index(flag) + 1 :]
    end = next((place for place, word in enumerate(after) if word.startswith("-")), len(after))
    return after[:end]


def table(rows: Sequence[Action]) -> str:
    """Return a line or more per option: its name, the kind of its value, and its sentence."""
    short = {long: word for word, long in SHORT.items()}
    lines = []
    for action in rows:
        spellings = [name for name in action.option_strings[::-1] if not re.search(r"[-.]no-", name)]
        name = ", ".join(spellings) or action.dest.upper()
        names = f"{short[name]}, {name}" if short.get(name, "--").count("-") == 1 else short.get(name, name)
        value = f" {kind(action)}" if action.metavar and action.option_strings else ""
        text = " ".join(NO_DEFAULT.sub("", str(action.help)).split())
        wrapped = textwrap.wrap(text, width() - 28) or [""]
        first = f"  {names}{value}"
        if len(first) < 27:
            lines.append(f"{first:<28}{wrapped.pop(0)}")
        else:
            lines.append(first)
        lines += [" " * 28 + line for line in wrapped]
    return "\n".join(lines) + "\n"


def width() -> int:
    """Return the columns of a page."""
    return min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns)


def choices(options: type) -> str:
    """Return the names in the registries that a command's options choose from."""
    registries: dict[str, tuple[str, Mapping[str, Any]]]
    registries = {"config": ("--evaluation.protocol", PROTOCOLS), "to": ("--to", FORMATS)}
    return "".join(
        f"\n{option}:\n" + "".join(f"  {name:12} {entry.summary}\n" for name, entry in registry.items())
        for option, registry in (registries[field.name] for field in fields(options) if field.name in registries)
    )
