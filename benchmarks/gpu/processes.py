"""Run tasks in processes of their own, some at a time, for as long as there is time. Loads no torch."""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

POLL = 0.1
"""seconds between two looks at the processes"""
ENDING = 20.0
"""seconds that a process whose work is done has for its end"""


@dataclass(frozen=True)
class Task:
    """Work of one process. It starts when the files in `needs` exist, and has been done when `done` does."""

    name: str
    function: Callable[..., None]
    arguments: tuple[Any, ...]
    done: Path
    needs: tuple[Path, ...] = ()


def log_of(folder: Path, name: str) -> Path:
    return folder / f"{name.replace(' ', '-')}.log"


def attempt(task: Task, log: Path) -> None:
    """Run a task in this process; its output and its error go to a file."""
    os.setsid()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    try:
        task.function(*task.arguments)
    except BaseException:
        traceback.print_exc()
        raise SystemExit(1) from None


def perform(tasks: list[Task], processes: int, over: Callable[[], bool], logs: Path) -> dict[str, str]:
    """Run the tasks, `processes` at a time, until they are done or `over()`; return how each one ended."""
    context = multiprocessing.get_context("spawn")
    logs.mkdir(parents=True, exist_ok=True)
    ended = {task.name: "there" for task in tasks if task.done.exists()}
    waiting = [task for task in tasks if task.name not in ended]
    running: list[tuple[Task, Any, float]] = []

    def collect() -> None:
        for one in list(running):
            task, process, start = one
            if not process.is_alive():
                word = "done" if process.exitcode == 0 else f"FAILED ({process.exitcode})"
                ended[task.name] = f"{word} in {monotonic() - start:.0f} s"
                print(f"{task.name}: {ended[task.name]}", flush=True)
                running.remove(one)

    while (waiting or running) and not over():
        collect()
        for task in list(waiting):
            if len(running) < processes and all(path.exists() for path in task.needs):
                process = context.Process(target=attempt, args=(task, log_of(logs, task.name)))
                process.start()
                running.append((task, process, monotonic()))
                waiting.remove(task)
        sleep(POLL)
    for task, process, _ in running:
        if task.done.exists():
            process.join(ENDING)  # its work is done
    collect()
    for task, process, _ in running:
        ended[task.name] = "stopped"
        for kill in (os.killpg, os.kill):
            try:
                kill(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
    return {**ended, **{task.name: "not begun" for task in waiting}}
