"""Parse command lines into options, with errors of one line."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import tyro

from lgd.config import DatasetConfig, refuse_former_field
from lgd.errors import UserError
from lgd.evaluation.protocols import PROTOCOLS
from lgd.experiments.auto import is_source, load_config
from lgd.export.formats import FORMATS

T = TypeVar("T")


@dataclass(frozen=True)
class OnlyDataset:
    """The options that describe the real images."""

    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    """The real images: their source, how they are read, and how they are split."""


SHORT = {
    "--epochs-factor": "--evaluation.epochs-factor",
    "--skip-broken": "--dataset.skip-broken",
    "--engine": "--compute.engine",
    "--address": "--compute.address",
}
"""Short forms of options, and the options they stand for."""


def preset_first(command: str, arguments: Sequence[str]) -> tuple[str, Any, list[str]]:
    """Split off the first argument: return its name, its configuration and the arguments after it.

    The preset, TOML file or image source decides the defaults of all other options. Errors: UserError.
    """
    options = (argument.partition("=") for argument in arguments)
    arguments = [SHORT.get(name, name) + equals + value for name, equals, value in options]
    if arguments and not arguments[0].startswith("-"):
        name, *rest = arguments
        dataset = dataset_options(rest) if is_source(name) else None
        return name, load_config(name, dataset), rest
    if any(word in ("-h", "--help") for word in arguments):
        return "PRESET_OR_TOML", load_config("digits"), list(arguments)
    raise UserError(f"{command} needs a preset, a .toml file or folder:PATH first: lgd {command} digits --out RUN")


def dataset_options(arguments: Sequence[str]) -> DatasetConfig:
    """Parse the options that describe the images, for settings that follow from them. Errors: UserError."""
    plain = [argument for argument in arguments if argument not in ("-h", "--help")]
    return one_line(lambda: tyro.cli(OnlyDataset, args=plain, return_unknown_args=True)[0].dataset)


def parse(options: type[T], program: str, arguments: Sequence[str], default: T | None = None) -> T:
    """Parse arguments into a dataclass of options. Errors: UserError of one line."""
    for argument in arguments:
        if argument.startswith("--"):
            refuse_former_field(argument[2:].partition("=")[0].replace("-", "_"), program)
    description = f"{options.__doc__}\n\n{choices(options)}"
    arguments = list(arguments)
    return one_line(lambda: tyro.cli(options, prog=program, description=description, args=arguments, default=default))  # type: ignore


def choices(options: type) -> str:
    """Return, for a command's help, the names in the registries that its options choose from."""
    names = {field.name for field in fields(options)}
    registries: dict[str, Mapping[str, Any]] = {}
    if "config" in names:
        registries["--evaluation.protocol"] = PROTOCOLS
    if "to" in names:
        registries["--to"] = FORMATS
    return "\n".join(
        f"{option}:\n" + "\n".join(f"  {name:12} {entry.summary}" for name, entry in registry.items())
        for option, registry in registries.items()
    )


def one_line(read: Callable[[], T]) -> T:
    """Call a function that runs tyro, and turn tyro's boxed error into one line. Errors: UserError."""
    boxed = io.StringIO()
    try:
        with contextlib.redirect_stderr(boxed):
            return read()
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        lines = [line.strip(" │╭╮╰╯─") for line in boxed.getvalue().splitlines()]
        words = " ".join(
            line for line in lines[1:] if line.strip("-") and "helptext" not in line and "--help" not in line
        )
        raise UserError(words or lines[0]) from None
