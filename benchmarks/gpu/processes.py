"""Run tasks in worker processes, some at a time, for as long as there is time. Loads no torch."""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from threading import Thread
from time import monotonic, sleep
from typing import Any

POLL = 0.1
"""seconds between two looks at the processes"""
ENDING = 20.0
"""seconds that a process whose work is done has for its end"""
GRACE = 5.0
"""seconds that an interrupted process has for its end, so that it leaves the GPU in order"""


@dataclass(frozen=True)
class Task:
    """Work of one process. It starts when the files in `needs` exist, and has been done when `done` does."""

    name: str
    function: Callable[..., None]
    arguments: tuple[Any, ...]
    done: Path
    needs: tuple[Path, ...] = ()


class Worker:
    """A process that does one task after another, so that its libraries are imported once."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")  # CUDA refuses a fork of a process that has asked for it
        self.connection, other = context.Pipe()
        self.process = context.Process(target=work, args=(other,))
        self.process.start()
        other.close()

    def start(self, task: Task, log: Path) -> None:
        self.task, self.begun = task, monotonic()
        self.connection.send((task.function, task.arguments, log))

    def state(self) -> str:
        """Return done, failed, or nothing while the task is at work."""
        with suppress(EOFError, OSError):
            if self.connection.poll():
                return str(self.connection.recv())
        return "" if self.process.is_alive() else "failed"

    def tell(self, number: signal.Signals) -> None:
        """Send a signal to the process and those that it started."""
        assert self.process.pid is not None
        for kill in (os.killpg, os.kill):
            with suppress(ProcessLookupError):
                kill(self.process.pid, number)


def log_of(folder: Path, name: str) -> Path:
    return folder / f"{name.replace(' ', '-')}.log"


def work(connection: Any) -> None:
    """Do the tasks that come, each with its output and error in a file, until one fails or none can come."""
    os.setsid()
    Thread(target=end_with_parent, daemon=True).start()
    with suppress(EOFError, KeyboardInterrupt):
        while True:
            function, arguments, log = connection.recv()
            descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            os.close(descriptor)
            try:
                function(*arguments)
            except BaseException:
                traceback.print_exc()
                raise SystemExit(1) from None
            connection.send("done")


def end_with_parent() -> None:
    """Kill this worker and what it started when the process that started it has ended, however that ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.killpg(0, signal.SIGKILL)


def perform(tasks: list[Task], processes: int, over: Callable[[], bool], logs: Path) -> dict[str, str]:
    """Run the tasks, `processes` at a time, until they are done or `over()`; return how each one ended."""
    logs.mkdir(parents=True, exist_ok=True)
    ended = {task.name: "there" for task in tasks if task.done.exists()}
    waiting = [task for task in tasks if task.name not in ended]
    busy: list[Worker] = []
    idle: list[Worker] = []

    def collect() -> None:
        for worker in list(busy):
            if state := worker.state():
                name = worker.task.name
                ended[name] = f"{'done' if state == 'done' else 'FAILED'} in {monotonic() - worker.begun:.0f} s"
                print(f"{name}: {ended[name]}", flush=True)
                busy.remove(worker)
                if state == "done":
                    idle.append(worker)

    while (waiting or busy) and not over():
        collect()
        for task in list(waiting):
            if len(busy) < processes and all(path.exists() for path in task.needs):
                idle[:] = [worker for worker in idle if worker.process.is_alive()]
                worker = idle.pop() if idle else Worker()
                worker.start(task, log_of(logs, task.name))
                busy.append(worker)
                waiting.remove(task)
        sleep(POLL)
    until = monotonic() + ENDING
    while any(worker.task.done.exists() for worker in busy) and monotonic() < until:  # its work is done
        collect()
        sleep(POLL)
    for worker in busy:
        ended[worker.task.name] = "stopped"
    for number in (signal.SIGINT, signal.SIGKILL):
        for worker in [*busy, *idle]:
            worker.tell(number)
        until = monotonic() + GRACE
        for worker in [*busy, *idle]:
            worker.process.join(max(0.0, until - monotonic()))
    return {**ended, **{task.name: "not begun" for task in waiting}}
