"""Errors that the command line prints as one line, and helpers for their messages."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any


class UserError(ValueError):
    """A mistake in the user's input. The message says what is wrong, where, and what to do; the exit code is 2."""


class NonFiniteError(UserError):
    """A loss, a gradient or a sample is NaN or infinite; the message names the step."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that a device or this machine ran out of memory; torch has several kinds."""
    text = " ".join(str(error).split())
    words = ("out of memory", "allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(word in text for word in words))


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Put `what` before the message of a NonFiniteError of the block."""
    try:
        yield
    except NonFiniteError as error:
        raise NonFiniteError(f"{what}: {error}") from None


@contextmanager
def reading(what: object) -> Iterator[None]:
    """Turn the errors of a block that reads untrusted JSON into a UserError that names the file `what`."""
    try:
        yield
    except UserError:
        raise
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{what}: not what lgd writes ({type(error).__name__}: {error})") from None


@dataclass(frozen=True)
class Failure:
    """A unit of work that failed."""

    name: str
    reason: str
    """kind and message of the error, on one line"""


class IncompleteError(Exception):
    """Some units failed; the others are finished and kept. The command line lists the failures; the exit code is 1."""

    def __init__(self, failures: Sequence[Failure]) -> None:
        super().__init__("; ".join(f"{failure.name}: {failure.reason}" for failure in failures))
        self.failures = tuple(failures)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the kind of an error without one."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def in_one_line(error: BaseException) -> str:
    """Return an error's message without line breaks, or the kind of an error without one."""
    return " ".join(str(error).split()) or type(error).__name__


def imported(package: str, needing: str) -> Any:
    """Import a package of the extra `hf`. needing: who needs it, with the verb. Errors: UserError that says how."""
    try:
        return import_module(package)
    except ImportError:
        raise UserError(f"{needing} the extra hf: pip install 'lgd[hf]'") from None


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the end of an error message that suggests the closest known word and lists all of them."""
    known = sorted(known)
    small = {name.casefold(): name for name in known}
    close = get_close_matches(word.casefold(), small, n=1)
    hint = f"; did you mean {small[close[0]]!r}?" if close else ""
    return f"{hint} Known: {', '.join(known)}" if hint else f"; known: {', '.join(known)}"
