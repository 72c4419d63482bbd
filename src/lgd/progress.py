"""Messages of the logger `lgd`, and progress bars that its level switches on and off."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

log = logging.getLogger("lgd")
log.setLevel(logging.INFO)

begun: ContextVar[float | None] = ContextVar("begun", default=None)
"""time.monotonic() at the start of the command; None in a program that calls the functions"""
LOCK = threading.RLock()
PLAIN_EVERY = 15.0  # seconds between lines where there is no terminal


class StandardError(logging.Handler):
    """Print messages on the current `sys.stderr`."""

    def emit(self, record: logging.LogRecord) -> None:
        # In one call, so that an interrupt cannot part a line from its end.
        sys.stderr.write(self.format(record) + "\n")
        sys.stderr.flush()


def show_messages(quiet: bool = False) -> None:
    """Print the library's messages on standard error; with `quiet`, only warnings, and no progress bars."""
    if not any(isinstance(handler, StandardError) for handler in log.handlers):
        log.addHandler(StandardError())
    log.setLevel(logging.WARNING if quiet else logging.INFO)


@contextmanager
def progress_bar(total: int, what: str) -> Iterator[Callable[..., None]]:
    """Show a progress bar while the block runs; yield `advance(note="", count=1)`, whose counts add up to `total`.

    Without a terminal, log a line every 15 seconds and one at the end. Logger levels above INFO switch both off.
    """
    from tqdm import tqdm

    # By default tqdm shares a lock with forked processes, and one that is killed while holding it stops the others;
    # and it starts a thread.
    tqdm.set_lock(LOCK)
    tqdm.monitor_interval = 0
    if total == 0:
        yield lambda note="", count=1: None
        return
    start = said = time.monotonic()
    terminal = sys.stderr.isatty()
    done = 0
    hidden = not terminal or not log.isEnabledFor(logging.INFO)
    with tqdm(total=total, desc=what, disable=hidden, leave=False) as progress:

        def advance(note: str = "", count: int = 1) -> None:
            nonlocal done, said
            done += count
            if note:
                progress.set_postfix_str(note, refresh=False)
            progress.update(count)
            now = time.monotonic()
            if not terminal and now - said >= PLAIN_EVERY and done < total:
                said = now
                left = (now - start) / done * (total - done)
                log.info(f"{what}: {done} of {total}, about {left:.0f} s left" + (f" ({note})" if note else ""))

        yield advance
    log.info(f"{what}: {f'{total} in ' if total > 1 else ''}{time.monotonic() - start:.1f} s")
