"""The errors that a user can mend. The command line prints them as one line and exits with code 2."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches


class UserError(ValueError):
    """Something the user gave is wrong: the message says what, where, and what to do."""


class NonFiniteError(UserError):
    """A loss, a gradient or a sample became NaN or infinite; the message names the step."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or this machine had too little memory: torch says so in several kinds of errors."""
    text = str(error)
    words = ("out of memory", "allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(word in text for word in words))


@contextmanager
def reading(what: object) -> Iterator[None]:
    """For a block that takes apart somebody's JSON: where it lacks something, the error is the user's, and names it."""
    try:
        yield
    except UserError:
        raise
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{what}: not what lgd writes ({type(error).__name__}: {error})") from None


@dataclass(frozen=True)
class Failure:
    """A unit of work that did not finish."""

    name: str
    reason: str


class IncompleteError(Exception):
    """Some units failed while the others were finished and kept. The command line lists them and exits with code 1."""

    def __init__(self, failures: Sequence[Failure]) -> None:
        super().__init__("; ".join(f"{failure.name}: {failure.reason}" for failure in failures))
        self.failures = tuple(failures)


def nearest(word: str, known: Iterable[str]) -> str:
    """A phrase that names the closest known word and all of them: for the end of an error message."""
    known = sorted(known)
    close = get_close_matches(word, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{hint} Known: {', '.join(known)}" if hint else f"; known: {', '.join(known)}"
