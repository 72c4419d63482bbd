"""Fixtures: a Ray cluster of two one-core machines, an S3 server, both on the loopback interface; forked workers."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import loky
import psutil
import pytest
from moto.server import ThreadedMotoServer

from tests import ray_workers
from tests.kills import alive


@pytest.fixture
def forked_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fork the local engine's workers, so that none has to import torch and diffusers: seven seconds for each.

    They are loky's workers in everything else. test_workers_do_not_change_a_byte starts them as users do.
    """
    executor = partial(loky.ProcessPoolExecutor, context=multiprocessing.get_context("fork"))
    monkeypatch.setattr("loky.ProcessPoolExecutor", executor)


@pytest.fixture(scope="session")
def store() -> Iterator[str]:
    """Return the URL of an empty bucket of an S3 server; its address is in the environment."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    from fsspec.core import url_to_fs

    url_to_fs("s3://bucket")[0].mkdir("bucket")
    yield "s3://bucket"
    server.stop()


class TwoMachines:
    """A head without cores and two machines with one core each, which can be killed and replaced.

    Their workers are forks of one process (ray_workers.py), which notes their raylets in files in `folder`.
    """

    def __init__(self, folder: Path) -> None:
        from ray.cluster_utils import Cluster

        self.server = folder / "server"
        os.environ[ray_workers.SERVER] = str(self.server)
        command = [sys.executable, ray_workers.__file__, "--serve", str(self.server)]
        self.forks = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.forks.stdout is not None
        assert self.forks.stdout.readline() == b"ready\n"

        # A dead machine is noticed within seconds, not a minute; a slow one still has its ten seconds to answer.
        # Workers as important as everything else: Ray's own niceness of 15 starves them beside a busy neighbour.
        quick = {"health_check_period_ms": 500, "health_check_failure_threshold": 3, "worker_niceness": 0}
        head = {"num_cpus": 0, "include_dashboard": False, "_system_config": quick, **self.small}
        head |= {"no_monitor": True, "include_log_monitor": False}  # processes that no test looks at
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.machines = [self.cluster.add_node(num_cpus=1, **self.small) for _ in range(2)]
        self.cluster.wait_for_nodes()

    small: dict[str, Any] = {  # noqa: RUF012
        "object_store_memory": 80 * 2**20,
        "node_ip_address": "127.0.0.2",
        "setup_worker_path": ray_workers.__file__,
    }

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def kill_machine(self, node_id: str, raylet_alone: bool = False) -> None:
        """Kill the raylet of a machine, and its workers, which would otherwise finish their units."""
        (machine,) = (machine for machine in self.machines if machine.node_id == node_id)
        workers = self.workers(raylet(machine))
        os.kill(raylet(machine), signal.SIGKILL)
        for pid in [] if raylet_alone else workers:
            os.kill(pid, signal.SIGKILL)

    def mend(self) -> None:
        """Replace dead machines, so that there are two again."""
        for machine in [machine for machine in self.machines if not alive(raylet(machine))]:
            self.machines.remove(machine)
            self.cluster.remove_node(machine, allow_graceful=False)
            self.machines.append(self.cluster.add_node(num_cpus=1, **self.small))
        self.cluster.wait_for_nodes()

    def kill_worker(self) -> bool:
        """Kill a process that runs a unit; returns whether there was one."""
        found = [pid for machine in self.machines for pid in self.workers(raylet(machine))]
        for pid in found[:1]:
            os.kill(pid, signal.SIGKILL)
        return bool(found)

    def workers(self, raylet: int) -> list[int]:
        """Return the processes of a raylet that run a unit."""
        return [pid for pid in self.forks_of(raylet) if "ray::_work" in command(pid)]

    def forks_of(self, parent: int) -> list[int]:
        """Return the forks that a process asked for."""
        notes = [path for path in self.server.parent.glob("server.*") if path.read_text() == str(parent)]
        return [int(path.suffix[1:]) for path in notes]

    def shutdown(self) -> None:
        self.cluster.shutdown()
        self.forks.communicate()


def raylet(machine: Any) -> int:
    return int(machine.all_processes["raylet"][0].process.pid)


def command(pid: int) -> str:
    """Return the words that a process was started with, or nothing for one that has ended."""
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:
        return ""


@pytest.fixture(scope="session")
def machines(store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoMachines]:
    """Return a cluster that this process is connected to, so that workers keep their libraries between tests."""
    import ray

    made = TwoMachines(tmp_path_factory.mktemp("ray"))
    ray.init(made.address, log_to_driver=False, logging_level=logging.ERROR)
    yield made
    ray.shutdown()
    made.shutdown()
