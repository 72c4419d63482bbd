"""Options that commands share: tyro makes each command line from a dataclass, which stands beside its command."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from tyro.conf import arg

from lgd.config import Config

Fields = Annotated[Config, arg(name="")]
"""Every field of the configuration, as an option with its dotted name."""


@dataclass(frozen=True, kw_only=True)
class Quiet:
    """The option of every command that takes a while."""

    in_preset: ClassVar[Mapping[str, Any]] = {}
    """Fields of the configuration that the command sets in the preset."""
    quiet: bool = False
    """Print warnings, errors and the result only."""


@dataclass(frozen=True, kw_only=True)
class Output(Quiet):
    """The options of commands that write a file or a directory."""

    overwrite: bool = False
    """Empty the directory first, or replace the file."""


@dataclass(frozen=True, kw_only=True)
class SetOptions(Quiet):
    """The options of commands that make a set, or plan one."""

    per_class: Annotated[int | None, arg(aliases=("--ipc",))] = None
    """Images per class of the whole set, in equal parts over the increments. Default: increments times
    stages.images_per_increment."""
    config: Fields = field(default_factory=Config)
    """The configuration of every run."""
