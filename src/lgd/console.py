"""What a person sees while it runs: on standard error, quiet on request, without bars where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

PLAIN_EVERY = 15.0  # seconds between lines where there is no terminal


@dataclass(frozen=True)
class Console:
    """`say` prints a line, `bar` shows progress."""

    quiet: bool = False

    def say(self, message: str) -> None:
        if not self.quiet:
            print(message, file=sys.stderr, flush=True)

    @contextmanager
    def bar(self, total: int, what: str) -> Iterator[Callable[..., None]]:
        """Yield `advance(note="", count=1)`, whose counts add up to `total`. Without a terminal: a line
        now and then, and one at the end."""
        from tqdm import tqdm

        if total == 0:
            yield lambda note="", count=1: None
            return
        start = said = time.monotonic()
        terminal = sys.stderr.isatty()
        done = 0
        with tqdm(total=total, desc=what, disable=self.quiet or not terminal, leave=False) as progress:

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
                    self.say(f"{what}: {done} of {total}, about {left:.0f} s left" + (f" ({note})" if note else ""))

            yield advance
        self.say(f"{what}: {total} in {time.monotonic() - start:.1f} s")
