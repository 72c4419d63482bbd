"""The engine that runs units on a Ray cluster (extra: ray). Ray schedules them and replaces dead workers."""

import logging
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from torch import Tensor

from lgd.config import ComputeConfig
from lgd.data.imageset import ImageSet
from lgd.errors import Failure, IncompleteError, UserError
from lgd.progress import progress_bar
from lgd.storage.files import LOCK
from lgd.storage.object_store import Mirror, active_mirror

from .hardware import cpu_threads
from .ray_train import train_together
from .units import LOG, Unit, attempt, perform, unfinished

CURRENT = Path("/tmp/ray/ray_current_cluster")
"""file into which `ray start` writes the address of this machine's cluster"""


class OnRay:
    """Runs units as Ray tasks. A worker process keeps its loaded models for later tasks.

    root: directory that all units write into, on a path that every machine sees, or the local copy of a URL.
    """

    distributed = True

    def __init__(self, compute: ComputeConfig, root: Path) -> None:
        self.compute = compute
        self.root = root
        self._session = uuid4().hex
        self._phases = 0

    def __enter__(self) -> Self:
        import ray

        self._connected_here = connect(self.compute)
        self._ray = ray
        resources = {"num_cpus": self.compute.cpus_per_unit, "num_gpus": self.compute.gpus_per_unit}
        self._work = ray.remote(**resources, max_retries=self.compute.retries)(_work)
        self._train = ray.remote(num_cpus=0, max_retries=self.compute.retries)(_train)
        self._resources = resources
        return self

    def __exit__(self, *_: object) -> None:
        if self._connected_here:
            self._ray.shutdown()

    def warm_up(self, task: Callable[[], None]) -> None:
        """As `Engine`: start as many workers as fit on the cluster."""
        available = self._ray.cluster_resources()
        needed = {"CPU": self.compute.cpus_per_unit, "GPU": self.compute.gpus_per_unit}
        fitting = min(available.get(name, 0) / share for name, share in needed.items() if share)
        start = self._ray.remote(**self._resources)(task)
        for _ in range(int(fitting)):
            start.remote()

    def run(self, units: Sequence[Unit], what: str) -> None:
        """Run the unfinished units; one whose worker died runs again, up to `retries` times. Errors: as `Engine`."""
        todo = unfinished(units, self.root)
        self._phases += 1
        phase = f"{self._session} {self._phases}"
        failures: list[Failure] = []
        with progress_bar(len(todo), what) as advance:
            calls = self._submit(todo, phase)
            pending = list(calls)
            while pending:
                (ready,), pending = self._ray.wait(pending, num_returns=1)
                attempt(self._outcome, (ready,), calls[ready].name, failures, self.root / LOG)
                advance()
        if mirror := active_mirror():
            mirror.fetch(f"{phase} finished")
        if failures:
            raise IncompleteError(failures)

    def beside(self, units: Sequence[Unit], what: str, threads: int) -> AbstractContextManager[None]:
        """Start nothing: on Ray a unit only sees the files of earlier calls of `run`."""
        return nullcontext()

    def has_room(self, threads: int) -> bool:
        """As `Engine`."""
        return False

    def _submit(self, units: Sequence[Unit], phase: str) -> dict[Any, Unit]:
        """Submit the units; returns them by their Ray futures. An image set is sent once, not with every unit."""
        mirror, sent, calls = active_mirror(), dict[int, Any](), dict[Any, Unit]()
        for unit in units:
            for value in unit.arguments:
                if isinstance(value, ImageSet | Tensor) and id(value) not in sent:
                    sent[id(value)] = self._ray.put(value)
            arguments = [sent.get(id(value), value) for value in unit.arguments]
            remote = self._train if unit.shards > 1 else self._work
            task = Task(replace(unit, arguments=()), self.root, mirror, phase, self.compute)
            calls[remote.remote(task, *arguments)] = unit
        return calls

    def _outcome(self, ready: Any) -> None:
        """Wait for one unit. Errors: the unit's own, or Ray's about its worker."""
        from ray.exceptions import RayTaskError

        try:
            self._ray.get(ready)
        except RayTaskError as error:
            raise error.cause from error


@dataclass(frozen=True)
class Task:
    """A unit without its arguments, and everything else that a worker needs to run it."""

    unit: Unit
    root: Path
    mirror: Mirror | None
    phase: str
    compute: ComputeConfig


def _work(task: Task, *arguments: Any) -> None:
    if task.mirror:
        task.mirror.fetch(task.phase)
    elif not (task.root / LOCK).exists():
        raise UserError(f"a Ray worker does not see {task.root}; --out must be a path all machines share, or a URL")
    with cpu_threads(1), task.mirror.sending() if task.mirror else nullcontext():
        perform(replace(task.unit, arguments=arguments), task.compute.retries)


def _train(task: Task, *arguments: Any) -> None:
    """Run a unit that trains on several workers, and wait for them."""
    train_together(lambda: _work(task, *arguments), task.unit.shards, task.root, task.mirror, task.compute)


def connect(compute: ComputeConfig) -> bool:
    """Join the cluster, or start one for this process alone; a connection that the caller opened is used as it is.

    Returns whether a connection was opened. Errors: as `check_cluster`; UserError for a connection to another cluster.
    """
    import ray

    check_cluster(compute.address)
    if ray.is_initialized():
        current = ray.get_runtime_context().gcs_address
        if compute.address not in ("local", "auto", current):
            raise no_cluster(compute.address, f"this process is connected to {current} by ray.init")
        return False
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if compute.address == "local":
        options |= {"num_cpus": compute.workers or None, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    try:
        ray.init(address=compute.address, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise no_cluster(compute.address, str(error).strip().splitlines()[0].rstrip(".")) from None
    return True


def check_cluster(address: str) -> None:
    """Check within seconds that Ray is there and the cluster answers; Ray waits for minutes. Errors: UserError."""
    if find_spec("ray") is None:
        raise UserError("--engine ray needs Ray: pip install 'lgd[ray]'")
    if address == "local":
        return
    found = address
    if address == "auto":
        found = os.environ.get("RAY_ADDRESS") or (CURRENT.read_text().strip() if CURRENT.is_file() else "")
        if not found:
            raise no_cluster(address, "none runs on this machine")
    host, colon, port = found.rpartition(":")
    if not colon or not port.isdigit():
        raise no_cluster(address, "write HOST:PORT, the port being that of `ray start`, 6379 by default")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise no_cluster(address, f"{found} does not answer ({error})") from None


def no_cluster(address: str, reason: str) -> UserError:
    return UserError(
        f"no Ray cluster at {address!r}: {reason}; start one with `ray start --head`, or give --address local"
    )
