"""Independent units of work, and the one method that runs them: `Engine.run(units)`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from lgd.errors import Failure, IncompleteError, NonFiniteError, UserError

T = TypeVar("T")


@dataclass(frozen=True)
class Unit:
    """A pure function of its arguments and of finished files, whose last act is to write `done` atomically."""

    name: str
    function: Callable[..., None]
    """defined at the top of a module, so that another process can find it"""
    arguments: tuple[Any, ...]
    done: Path


class Engine(Protocol):
    """Runs units in any order. A unit whose `done` exists is not run again."""

    def run(self, units: Sequence[Unit], what: str, failures: list[Failure] | None = None) -> None: ...


def attempt(
    function: Callable[..., T], arguments: Sequence[Any], name: str, failures: list[Failure] | None
) -> T | None:
    """The result of `function`, or None: with `failures`, what goes wrong in this unit alone is put there.

    A user's mistake would meet the other units as well, so it is raised in any case; so is a full disk.
    """
    try:
        return function(*arguments)
    except IncompleteError as error:
        if failures is None:
            raise
        failures.extend(error.failures)
    except Exception as error:
        if failures is None or not is_local(error):
            raise
        failures.append(Failure(name, f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}"))
    return None


def is_local(error: Exception) -> bool:
    """Whether an error says something about one unit only."""
    return isinstance(error, NonFiniteError) or not isinstance(error, UserError | OSError)


def unfinished(units: Sequence[Unit]) -> list[Unit]:
    """Resuming is this set difference."""
    return [unit for unit in units if not unit.done.exists()]
