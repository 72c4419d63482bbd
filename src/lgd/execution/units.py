"""Independent units of work, and the interface of the engines that run them."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from traceback import format_exception
from typing import Any, Protocol, TypeVar

from lgd.errors import Failure, IncompleteError, NonFiniteError, UserError, is_out_of_memory
from lgd.progress import log
from lgd.storage.files import is_full_disk, on_written, write_text

from .receipts import damaged, write_receipt

T = TypeVar("T")

LOG = "errors.log"  # file in an output directory that takes the tracebacks of units that failed
MISTAKES = (TypeError, AttributeError, NameError, LookupError, ImportError, AssertionError, NotImplementedError)
"""errors of code, which other units would meet as well"""


@dataclass(frozen=True)
class Unit:
    """A pure function of its arguments and of finished files, which writes `done` atomically as its last act."""

    name: str
    """its name in progress messages and errors"""
    function: Callable[..., None]
    """a function at the top of a module, so that another process can import it"""
    arguments: tuple[Any, ...]
    """positional arguments of the function"""
    done: Path
    """file whose existence means that the unit is finished"""
    shards: int = 1
    """number of processes that may share its training (classifiers/shards.py)"""


class Engine(Protocol):
    """Runs units in any order. A unit whose `done` exists, with its files undamaged, is not run again."""

    distributed: bool
    """whether units run on other machines"""

    def run(self, units: Sequence[Unit], what: str) -> None:
        """Run the unfinished units. `what` names them on the progress bar.

        Errors: a user's mistake at once; IncompleteError with the units that failed, after all others have run, or at
        once for a mistake in the code. The tracebacks are in `LOG` in the output directory.
        """

    def beside(self, units: Sequence[Unit], what: str, threads: int) -> AbstractContextManager[None]:
        """Start units of `threads` threads each while this process runs the block with as many; then wait for them.

        Start nothing where that would be slower, or where the engine does not support it. Errors: as `run`.
        """

    def has_room(self, threads: int) -> bool:
        """Return whether `beside` would start units of `threads` threads."""

    def warm_up(self, task: Callable[[], None]) -> None:
        """Start the workers with a task, such as imports that take seconds, while this process works."""


def perform(unit: Unit, retries: int) -> None:
    """Run one unit, again after an error that may pass, and write a receipt of the files that it wrote."""
    for left in reversed(range(retries + 1)):
        paths: list[Path] = []
        try:
            with on_written(paths.append):
                unit.function(*unit.arguments)
            break
        except Exception as error:
            if not left or not may_pass(error):
                raise
    write_receipt(unit.done, [path for path in paths if path.exists()])


def may_pass(error: Exception) -> bool:
    """Return whether an error may not come again: one of memory, of the network or of a file system."""
    lasting = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)
    of_files = isinstance(error, OSError) and not isinstance(error, lasting) and not is_full_disk(error)
    return of_files or is_out_of_memory(error)


def attempt(
    function: Callable[..., T], arguments: Sequence[Any], name: str, failures: list[Failure], log: Path
) -> T | None:
    """Return the result of `function`, or None after an error of this unit alone, which is added to `failures`.

    log: file that takes the traceback. Errors: those that would stop the other units, too, such as a user's mistake or
    a full disk; IncompleteError at once for a mistake in the code.
    """
    try:
        return function(*arguments)
    except IncompleteError as error:
        failures.extend(error.failures)
    except Exception as error:
        if not is_local(error):
            raise
        failures.append(Failure(name, recorded(error, name, log)))
        if isinstance(error, MISTAKES):
            raise IncompleteError(failures) from error
    return None


def recorded(error: Exception, name: str, log: Path) -> str:
    """Return an error as one line, after its traceback was added to the file `log`."""
    line = f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}"
    if isinstance(error, UserError):
        return line
    before = log.read_text("utf-8") if log.exists() else ""
    write_text(log, f"{before}{datetime.now():%Y-%m-%d %H:%M:%S} {name}\n{''.join(format_exception(error))}\n")
    return f"{line}; traceback in {log}"


def is_local(error: Exception) -> bool:
    """Return whether an error concerns one unit only."""
    if isinstance(error, NonFiniteError | ConnectionError | TimeoutError):
        return True
    return not (isinstance(error, UserError | OSError) or is_full_disk(error))


def unfinished(units: Iterable[Unit], root: Path) -> list[Unit]:
    """Return the units that are still to run; report and delete files that were damaged since they were written."""
    todo = []
    for unit in units:
        own = root if root in unit.done.parents else unit.done.parent  # shared assets may lie outside the run
        bad = damaged(unit.done, own)
        for path in bad:
            log.info(f"{path}: {'corrupt, not what was written' if path.exists() else 'lost'}; made again")
            path.unlink(missing_ok=True)
        if bad or not unit.done.exists():
            todo.append(unit)
    return todo
