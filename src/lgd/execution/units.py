"""Independent units of work, and the one method that runs them: `Engine.run(units)`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from lgd.errors import Failure, IncompleteError, NonFiniteError, UserError
from lgd.progress import log
from lgd.storage.files import is_full_disk, on_written

from .receipts import damaged, write_receipt

T = TypeVar("T")


@dataclass(frozen=True)
class Unit:
    """A pure function of its arguments and of finished files, whose last act is to write `done` atomically."""

    name: str
    function: Callable[..., None]
    """defined at the top of a module, so that another process can find it"""
    arguments: tuple[Any, ...]
    done: Path
    shards: int = 1
    """processes that may share its training, as the configuration says (classifiers/shards.py)"""


class Engine(Protocol):
    """Runs units in any order. A unit whose `done` exists, with its files undamaged, is not run again."""

    def run(self, units: Sequence[Unit], what: str) -> None:
        """Errors: a user's mistake at once; IncompleteError with the units that failed, after all the others."""

    def beside(self, units: Sequence[Unit], what: str, threads: int) -> AbstractContextManager[None]:
        """Begin with units of so many threads each while this process computes the block with as many; then wait.

        Where that would be slower, or this is not how the engine works, nothing is begun. Errors: as `run`.
        """

    def warm_up(self) -> None:
        """Start what takes seconds to start, while this process does something else."""


def perform(unit: Unit, retries: int) -> None:
    """Run one unit, again when it fails in a way that chance may mend, and leave a receipt of the files it wrote."""
    for left in reversed(range(retries + 1)):
        paths: list[Path] = []
        try:
            with on_written(paths.append):
                unit.function(*unit.arguments)
            break
        except Exception as error:
            if not left or not is_local(error) or isinstance(error, NonFiniteError):
                raise
    write_receipt(unit.done, [path for path in paths if path.exists()])


def attempt(function: Callable[..., T], arguments: Sequence[Any], name: str, failures: list[Failure]) -> T | None:
    """The result of `function`, or None when something went wrong with it alone, which is put in `failures`.

    A user's mistake would meet the other units as well, so it is raised; so is a full disk.
    """
    try:
        return function(*arguments)
    except IncompleteError as error:
        failures.extend(error.failures)
    except Exception as error:
        if not is_local(error):
            raise
        failures.append(Failure(name, f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}"))
    return None


def is_local(error: Exception) -> bool:
    """Whether an error says something about one unit only."""
    if isinstance(error, NonFiniteError | ConnectionError | TimeoutError):
        return True
    return not (isinstance(error, UserError | OSError) or is_full_disk(error))


def unfinished(units: Iterable[Unit], root: Path) -> list[Unit]:
    """Resuming is this set difference. What was damaged since it was finished is told, removed, and made again."""
    todo = []
    for unit in units:
        bad = damaged(unit.done, root)
        for path in bad:
            log.info(f"{path}: {'corrupt, not what was written' if path.exists() else 'lost'}; made anew")
            path.unlink(missing_ok=True)
        if bad or not unit.done.exists():
            todo.append(unit)
    return todo
