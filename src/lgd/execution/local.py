"""The engine that runs units on this machine: in this process, or in worker processes of one thread each (loky)."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self

from loky import cpu_count
from psutil import pid_exists

from lgd.errors import Failure, IncompleteError, UserError
from lgd.progress import log, progress_bar
from lgd.storage.object_store import Mirror, active_mirror

from .hardware import cpu_threads, keep_freed_memory
from .units import LOG, Unit, attempt, perform, unfinished


class LostWorkerError(UserError):
    """A worker process was killed."""


class Local:
    """Runs units in `workers` processes; with one worker, in this process.

    On the CPU every unit computes with one thread, so that its bytes do not depend on `workers`. root: directory that
    all units write into. retries: number of times to run a unit again after an error that may be transient.
    """

    distributed = False

    def __init__(self, workers: int, root: Path, retries: int = 0) -> None:
        self.workers = workers
        self.root = root
        self.retries = retries
        self._pool: Any = None

    def warm_up(self, task: Callable[[], None]) -> None:
        """As `Engine`: start the workers."""
        if self.workers > 1:
            for _ in range(self.workers):
                self._executor().submit(task)

    def run(self, units: Sequence[Unit], what: str) -> None:
        """Run the unfinished units. Errors: as `Engine`; LostWorkerError when workers are killed time and again."""
        for left in reversed(range(self.retries + 1)):
            try:
                return self._run(unfinished(units, self.root), what)
            except LostWorkerError:
                if not left:
                    raise
                log.info("a worker process was killed; its work is done again")

    def _run(self, units: Sequence[Unit], what: str) -> None:
        failures: list[Failure] = []
        with progress_bar(len(units), what) as advance:
            if self.workers > 1 and len(units) > 1:
                self._collect(self._submit(units), advance, failures)
            else:
                with cpu_threads(1):
                    for unit in units:
                        attempt(perform, (unit, self.retries), unit.name, failures, self.root / LOG)
                        advance()
        if failures:
            raise IncompleteError(failures)

    @contextmanager
    def beside(self, units: Sequence[Unit], what: str, threads: int) -> Iterator[None]:
        """As `Engine`: start units if there are cores for their threads and as many of this process."""
        todo = unfinished(units, self.root)
        if not self.has_room(threads):
            todo = []
        futures = self._submit(todo)
        try:
            yield
        except BaseException:
            for future in futures:
                future.cancel()
            raise
        if futures:
            failures: list[Failure] = []
            with progress_bar(len(todo), what) as advance:
                self._collect(futures, advance, failures)
            if failures:
                raise IncompleteError(failures)

    def has_room(self, threads: int) -> bool:
        """As `Engine`."""
        return self.workers > 1 and 2 * threads <= cpu_count()

    def _submit(self, units: Sequence[Unit]) -> dict[Any, Unit]:
        mirror = active_mirror()
        return {self._executor().submit(_perform, unit, self.retries, mirror): unit for unit in units}

    def _collect(self, futures: dict[Any, Unit], advance: Callable[[], None], failures: list[Failure]) -> None:
        from loky.process_executor import TerminatedWorkerError

        try:
            for future in as_completed(futures):
                if isinstance(lost := future.exception(), TerminatedWorkerError):
                    raise lost
                attempt(future.result, (), futures[future].name, failures, self.root / LOG)
                advance()
        except TerminatedWorkerError:
            time.sleep(0.2)  # Ctrl-C ends the workers, too: let this process's KeyboardInterrupt come first
            self._pool = None  # loky's is broken
            raise LostWorkerError(
                "a worker process was killed, perhaps for lack of memory; finished work is kept: run the same command"
                " again, with a smaller --compute.workers if it recurs"
            ) from None
        finally:
            for future in futures:
                future.cancel()

    def _executor(self) -> Any:
        if self._pool is None:
            from loky import ProcessPoolExecutor

            threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
            self._pool = ProcessPoolExecutor(
                self.workers, initializer=_initialise, initargs=(os.getpid(),), env=threads
            )
        return self._pool

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, kill_workers=kind is not None)


def _initialise(parent: int) -> None:
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()  # first: importing torch takes seconds
    keep_freed_memory()
    import torch

    torch.set_num_threads(1)


def _leave_with(parent: int) -> None:
    """End this worker process when its parent has ended, for whatever reason.

    Windows keeps telling the number of a parent that has ended; elsewhere the number changes.
    """
    while os.getppid() == parent and pid_exists(parent):
        time.sleep(0.5)
    os._exit(1)


def _perform(unit: Unit, retries: int, mirror: Mirror | None) -> None:
    with mirror.sending() if mirror else nullcontext():
        perform(unit, retries)
