"""Ray: the same bytes as without it, also when workers or machines die."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
from tests import ray_workers
from tests.cli.test_main import toml
from tests.execution.test_kill import digests
from tests.machines import TwoMachines

import lgd.__main__
import lgd.execution.ray
from lgd.cli.main import main
from lgd.config import Config, with_values
from lgd.distillation import resources
from lgd.errors import IncompleteError, UserError
from lgd.execution.ray import OnRay, connect
from lgd.execution.units import LOG, Unit
from lgd.experiments.distill import distill
from lgd.experiments.prepare import train_reference
from lgd.storage.files import output_directory, sha256, write_json

pytestmark = pytest.mark.xdist_group("ray")

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers do not see the tests


@pytest.fixture
def engine(machines: TwoMachines, tmp_path: Path) -> Iterator[OnRay]:
    """Return an engine on the cluster, for units that write into `tmp_path`/out."""
    compute = with_values(Config(), {"compute.address": machines.address, "compute.retries": 2}).compute
    with output_directory(tmp_path / "out") as root, OnRay(compute, root) as engine:
        yield engine


def made(root: Path) -> dict[str, bytes]:
    """Return the bytes of every file that a run determines."""
    parts = [*root.glob("increments/**/*"), *root.glob("dataset/**/*"), *root.glob("evaluation/*")]
    return {str(path.relative_to(root)): path.read_bytes() for path in parts if path.is_file()}


def unit(root: Path, name: str, function: Callable[..., None], *arguments: Any) -> Unit:
    done = root / f"{name}.json"
    return Unit(name, function, (done, *arguments), done)


def note(done: Path) -> int:
    """Record a try of the unit `done` by this process on this machine; returns the number of earlier tries."""
    with done.with_suffix(".tries").open("a") as file:
        file.write(f"{os.getpid()} {ray.get_runtime_context().get_node_id()}\n")
    return len(tries(done)) - 1


def tries(done: Path) -> list[tuple[int, str]]:
    path = done.with_suffix(".tries")
    lines = path.read_text().splitlines() if path.exists() else []
    return [(int(pid), node) for pid, _, node in (line.partition(" ") for line in lines)]


def finish(done: Path) -> None:
    note(done)
    write_json(done, {})


def hang_once(done: Path) -> None:
    """Never return on the first try, so that its process has to be killed."""
    if note(done) == 0:
        time.sleep(600)
    write_json(done, {})


def when_started(done: Path, act: Callable[[int, str], None]) -> threading.Thread:
    """Call `act` with the process and the machine of a unit's first try, as soon as it has begun."""

    def wait() -> None:
        while not tries(done):
            time.sleep(0.02)
        act(*tries(done)[0])

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


# First the tests whose workers import torch and diffusers, seconds each, and then those that kill workers.


def test_a_worker_and_the_driver_killed_during_a_run_change_no_byte(
    finished: Path, tiny: Config, tmp_path: Path, machines: TwoMachines
) -> None:
    """Kills, through the command line, a process that computes an increment, and then the command."""
    out, preset = tmp_path / "run", toml(tiny, tmp_path / "tiny.toml")
    command = ["distill", str(preset), "--out", str(out), "--quiet", "--engine", "ray", "--address", machines.address]
    fork = [sys.executable, ray_workers.__file__, lgd.__main__.__file__, *command]
    process = subprocess.Popen(fork, stderr=subprocess.PIPE, text=True)
    killed = False
    while not (out / "increments/02/learners").exists():
        assert process.poll() is None, process.stderr.read()  # type: ignore[union-attr]
        if (out / "increments/01").exists() and not killed:
            killed = machines.kill_worker()
        time.sleep(0.01)
    (driver,) = machines.forks_of(os.getpid())
    os.kill(driver, signal.SIGKILL)
    process.communicate()
    done = {path: path.stat().st_mtime_ns for path in out.glob("increments/*/groups/*.json")}  # of finished units
    assert main(command) == 0
    assert digests(out) == digests(finished)
    assert {path: path.stat().st_mtime_ns for path in done} == done


def test_anchored_candidates_are_the_same_and_resume(tiny: Config, tmp_path: Path, machines: TwoMachines) -> None:
    """Orders, measured losses and encoded anchors are units, too."""
    values = {"method": "lgd-anchored", "stages.increments": 2, "evaluation.redundancy_seeds": 0}
    config = with_values(tiny, {**values, "stages.classes_per_unit": 5})
    alone = distill(config, tmp_path / "alone").root
    assert len({c["real"] for line in (alone / "increments/02/manifest.jsonl").read_text().splitlines()
                for c in json.loads(line)["candidates"]}) > 20  # fmt: skip
    on_ray = with_values(config, {"compute.engine": "ray", "compute.address": machines.address})
    together = distill(on_ray, tmp_path / "together").root
    assert made(together) == made(alone)
    for part in ("increments/02", "dataset", "real"):
        shutil.rmtree(together / part)
    distill(on_ray, together)
    assert made(together) == made(alone)


@pytest.mark.slow
def test_two_workers_train_every_learner_of_a_run_to_the_bytes_of_one(
    tiny: Config, tmp_path: Path, machines: TwoMachines
) -> None:
    config = with_values(
        tiny,
        {
            "reference.training.shards": 2,
            "learner.training.shards": 2,
            "stages.increments": 2,
            "evaluation.seeds": 1,
            "evaluation.redundancy_seeds": 0,
        },
    )
    alone = distill(config, tmp_path / "alone")
    on_ray = with_values(config, {"compute.engine": "ray", "compute.address": machines.address})
    together = distill(on_ray, tmp_path / "together")
    assert made(together.root) == made(alone.root)
    assert sha256(together.root / "reference.safetensors") == sha256(alone.root / "reference.safetensors")


def test_a_worker_loads_its_models_once(finished: Path, tiny: Config, engine: OnRay) -> None:
    units = [unit(engine.root, f"u{i}", load_generator, finished / "generator", tiny) for i in range(8)]
    engine.run(units, "loading")
    found = {tuple(json.loads(one.done.read_text())) for one in units}  # a second load in a process would be a new pair
    assert len(found) == len({pid for pid, _ in found}) <= 2


def load_generator(done: Path, folder: Path, config: Config) -> None:
    resources._generator(folder, 0, config.generator, config.dataset, "cpu", config.sampling)
    write_json(done, [os.getpid(), resources._generator.cache_info().misses])


def test_two_workers_train_one_reference_to_the_bytes_of_one(
    tiny: Config, tmp_path: Path, machines: TwoMachines
) -> None:
    """Through Ray Train, two shards of every batch, with the workers that the test above started."""
    config = with_values(tiny, {"reference.training.shards": 2, "reference.training.epochs": 1})
    alone = train_reference(config, tmp_path / "alone")
    on_ray = with_values(config, {"compute.engine": "ray", "compute.address": machines.address})
    together = train_reference(on_ray, tmp_path / "together")
    assert together["accuracy"] == alone["accuracy"]
    found = {sha256(tmp_path / name / "reference.safetensors") for name in ("alone", "together")}
    assert len(found) == 1
    assert not (tmp_path / "together" / ".train").exists()


def test_the_other_commands_run_on_it(
    finished: Path, tiny: Config, tmp_path: Path, machines: TwoMachines, capsys: pytest.CaptureFixture[str]
) -> None:
    small = with_values(tiny, {"stages.increments": 1, "evaluation.redundancy_seeds": 0, "evaluation.seeds": 1})
    preset, where = str(toml(small, tmp_path / "small.toml")), ["--engine", "ray", "--address", machines.address]
    for command in (
        ["compare", preset, "--methods", "random"],
        ["ablate", preset, "--over", "seed=0", "--method", "random"],
    ):
        out = str(tmp_path / command[0])
        assert main([*command, "--out", out, "--runs", "1", "--quiet", *where]) == 0
    evaluate = ["evaluate", str(finished), "--test", preset, "--seeds", "2", "--quiet"]
    capsys.readouterr()
    assert main([*evaluate, *where, "--out", str(tmp_path / "cells")]) == 0
    on_ray = capsys.readouterr().out
    assert main(evaluate) == 0
    assert capsys.readouterr().out == on_ray


def test_a_core_has_as_many_workers_as_their_share_allows(engine: OnRay, machines: TwoMachines) -> None:
    """Four units of half a core run at the same time on two cores, in four processes."""
    compute = replace(engine.compute, cpus_per_unit=0.5)
    with OnRay(compute, engine.root) as halves:
        units = [unit(engine.root, f"u{i}", meet, engine.root, 4) for i in range(4)]
        halves.run(units, "test")
    assert len({tries(one.done)[0] for one in units}) == 4
    assert len({node for one in units for _, node in tries(one.done)}) == 2


def meet(done: Path, root: Path, count: int) -> None:
    """Wait until `count` units have begun."""
    note(done)
    end = time.monotonic() + 100
    while len(list(root.glob("*.tries"))) < count:
        assert time.monotonic() < end, "the units do not run at the same time"
        time.sleep(0.02)
    write_json(done, {})


def test_a_worker_killed_in_mid_unit_is_replaced(engine: OnRay) -> None:
    units = [unit(engine.root, f"u{i}", hang_once if i == 1 else finish) for i in range(6)]
    killer = when_started(units[1].done, lambda pid, _: os.kill(pid, signal.SIGKILL))
    engine.run(units, "test")
    killer.join()
    assert all(one.done.exists() for one in units)
    assert [len(tries(one.done)) for one in units] == [1, 2, 1, 1, 1, 1]


def test_a_machine_killed_in_mid_unit_is_done_without(engine: OnRay, machines: TwoMachines) -> None:
    units = [unit(engine.root, f"u{i}", hang_once if i == 1 else finish) for i in range(6)]
    killer = when_started(units[1].done, lambda _, node: machines.kill_machine(node))
    engine.run(units, "test")
    killer.join()
    assert all(one.done.exists() for one in units)
    (_, first), (_, second) = tries(units[1].done)
    assert first != second
    machines.mend()


def test_a_raylet_killed_in_mid_unit_loses_nothing(engine: OnRay, machines: TwoMachines) -> None:
    """Its worker may finish the unit, or another worker may start it again."""
    units = [unit(engine.root, f"u{i}", take_seconds) for i in range(4)]
    killer = when_started(units[1].done, lambda _, node: machines.kill_machine(node, raylet_alone=True))
    engine.run(units, "test")
    killer.join()
    assert all(one.done.exists() for one in units)
    machines.mend()


def take_seconds(done: Path) -> None:
    note(done)
    time.sleep(2)
    write_json(done, {})


def test_a_unit_that_always_kills_its_worker_is_named_and_the_rest_finished(engine: OnRay) -> None:
    units = [unit(engine.root, f"u{i}", commit_suicide if i == 1 else finish) for i in range(4)]
    with pytest.raises(IncompleteError) as failed:
        engine.run(units, "test")
    assert [(f.name, f.reason.split(":")[0]) for f in failed.value.failures] == [("u1", "WorkerCrashedError")]
    assert [one.done.exists() for one in units] == [True, False, True, True]
    assert len(tries(units[1].done)) == 3


def commit_suicide(done: Path) -> None:
    note(done)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_unit_that_always_fails_is_told_after_its_retries_and_alone_tried_again(engine: OnRay) -> None:
    units = [unit(engine.root, f"u{i}", fail if i == 2 else finish) for i in range(4)]
    for run in (1, 2):
        with pytest.raises(IncompleteError, match=r"^u2: RuntimeError: out of memory; traceback in .*errors\.log$"):
            engine.run(units, "test")
        assert "raise RuntimeError" in (engine.root / LOG).read_text()
        assert [len(tries(one.done)) for one in units] == [1, 1, 3 * run, 1]
    mended = [replace(one, function=finish) for one in units]
    engine.run(mended, "test")
    assert Counter(len(tries(one.done)) for one in units) == {1: 3, 7: 1}


def fail(done: Path) -> None:
    note(done)
    raise RuntimeError("out of\nmemory")


def test_a_connection_of_the_caller_stays_open(engine: OnRay, machines: TwoMachines) -> None:
    with OnRay(engine.compute, engine.root):
        pass
    assert ray.is_initialized()
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(UserError, match=f"this process is connected to {machines.address} by ray.init"):
            connect(replace(engine.compute, address=address))


def test_a_place_that_the_workers_do_not_see_is_told(tmp_path: Path, machines: TwoMachines) -> None:
    compute = replace(Config().compute, address=machines.address)
    with (
        OnRay(compute, tmp_path / "elsewhere") as engine,
        pytest.raises(UserError, match="a Ray worker does not see"),
    ):
        engine.run([unit(tmp_path, "u", finish)], "test")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "127.0.0.1:1 does not answer"),
        ("somewhere", "write HOST:PORT"),
        ("auto", "none runs on this machine"),
    ],
)
def test_no_cluster_is_one_line_within_seconds(
    address: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(lgd.execution.ray, "CURRENT", tmp_path / "none")
    assert main(["distill", "digits", "--out", str(tmp_path / "out"), "--engine", "ray", "--address", address]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
