"""Commands that end by SIGKILL at a chosen file, however fast the machine is."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from lgd.cli.main import main
from lgd.storage.files import on_written


def killed_when(condition: Callable[[], bool], arguments: Sequence[str | Path]) -> bool:
    """Run a command in a fork of this process, which kills itself after the first file that makes the condition true.

    Returns whether it was killed. The condition is asked in the fork, after each file that is finished there.
    """

    def strike(path: Path) -> None:
        if condition():
            os.kill(os.getpid(), signal.SIGKILL)

    def run() -> None:
        with on_written(strike):
            os._exit(main([*map(str, arguments)]))

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join()
    return process.exitcode == -signal.SIGKILL


def alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended and waits to be collected does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
