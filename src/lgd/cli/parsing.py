"""Parse command lines into options, with errors of one line."""

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, field, fields, make_dataclass, replace
from functools import cache
from typing import Annotated, Any, TypeVar, get_type_hints

import tyro

from lgd.config import Config, DatasetConfig, refuse_former_field, with_per_class
from lgd.errors import UserError
from lgd.experiments.auto import as_source, is_source, load_config

from .help import HELP, SHORT, page
from .options import Quiet, SetOptions

T = TypeVar("T")


@dataclass(frozen=True)
class OnlyDataset:
    """The options that describe the images of a source, whose settings follow from them."""

    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    """The real images: their source, how they are read, and how they are split."""


def preset_first(command: str, arguments: Sequence[str]) -> tuple[str, Any, list[str]]:
    """Split off the first argument: return its name, its configuration and the arguments after it.

    The preset, TOML file or image source decides the defaults of all other options. Errors: UserError.
    """
    options = (argument.partition("=") for argument in arguments)
    arguments = [SHORT.get(name, name) + equals + value for name, equals, value in options]
    if arguments and not arguments[0].startswith("-"):
        name, rest = as_source(arguments[0]), arguments[1:]
        if not is_source(name):
            return name, load_config(name), rest
        plain = [word for word in rest if word not in HELP]
        read = one_line(lambda: tyro.cli(OnlyDataset, args=plain, return_unknown_args=True)[0].dataset)
        return name, load_config(name, read), rest
    if any(word in HELP for word in arguments):
        return "PRESET_OR_TOML", load_config("digits"), list(arguments)
    raise UserError(f"{command} needs a preset, a .toml file or folder:PATH first: lgd {command} digits --out RUN")


def parse(options: type[T], program: str, arguments: Sequence[str], default: T | None = None) -> T:
    """Parse arguments into a dataclass of options. Errors: UserError of one line; SystemExit after printing help."""
    arguments = ["--out" if word == "-o" else word for word in arguments]
    if any(word in HELP for word in arguments):
        print(page(options, program, default, arguments), end="")
        raise SystemExit(0)
    names = [word[2:].partition("=")[0].replace("-", "_") for word in arguments if word.startswith("--")]
    for name in names:
        refuse_former_field(name, program)
    found = parse_sections(options, arguments, default, frozenset(name.partition(".")[0] for name in names))
    if found is None:
        found = one_line(lambda: tyro.cli(options, prog=program, args=arguments, default=default))
    if isinstance(found, SetOptions) and found.per_class is not None:
        if "stages.images_per_increment" in names:
            raise UserError("--per-class and --stages.images-per-increment both set the size of the set; give one")
        increments = found.config.stages.increments if "stages.increments" in names else None
        found = replace(found, config=with_per_class(found.config, found.per_class, increments))
    return found


def parse_sections(options: type, arguments: Sequence[str], default: Any, names: frozenset[str]) -> Any:
    """Parse with the named sections of the configuration alone: tyro takes 0.1 s for all of them.

    Returns None for options without a configuration, and for arguments that need a message, which the full parser has.
    """
    if not isinstance(config := getattr(default, "config", None), Config):
        return None
    narrow, sections = with_sections(options, names)
    given = {one.name: getattr(default, one.name) for one in fields(default)}
    part = sections(**{one.name: getattr(config, one.name) for one in fields(sections)})
    try:
        found = one_line(lambda: tyro.cli(narrow, args=arguments, default=narrow(**{**given, "config": part})))
    except UserError:
        return None
    return options(
        **{**{name: getattr(found, name) for name in given}, "config": replace(config, **vars(found.config))}
    )


@cache
def with_sections(options: type, names: frozenset[str]) -> tuple[Any, Any]:
    """Return options with a configuration of the named sections and of all plain fields, and its class."""
    hints = get_type_hints(Config, include_extras=True)
    kept = [one.name for one in fields(Config) if one.default_factory is MISSING or one.name in names]
    part = make_dataclass("Part", [(name, hints[name]) for name in kept], frozen=True, kw_only=True)
    config = ("config", Annotated[part, tyro.conf.arg(name="")])
    return make_dataclass(options.__name__, [config], bases=(options,), frozen=True, kw_only=True), part


def parse_command(options: type[T], command: str, arguments: Sequence[str]) -> T:
    """Parse the arguments of a command; where it has a configuration, a preset comes first. Errors: as `parse`."""
    if not issubclass(options, Quiet) or "config" not in options.__dataclass_fields__:
        return parse(options, f"lgd {command}", arguments)
    preset, config, rest = preset_first(command, arguments)
    required = [one.name for one in fields(options) if one.default is one.default_factory is MISSING]
    own = {**dict.fromkeys(required, tyro.MISSING), "config": replace(config, **options.in_preset)}
    return parse(options, f"lgd {command} {preset}", rest, options(**own))


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
        told, _, _ = words.partition(" Got errors:")  # one for each type that a field may have, with pydantic's names
        raise UserError(told or lines[0]) from None
