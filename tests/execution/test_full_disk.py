"""A full disk at every kind of write: one line of error, no partial file, and the same command continues later."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cli.test_main import toml
from tests.execution.test_kill import digests

import lgd.diffusion.train_generator
import lgd.report.events
import lgd.storage.files
from lgd.cli.main import main
from lgd.config import Config
from lgd.export.formats import FORMATS

PAGE = 4096


class Disk:
    """A file system of a few MiB, and a file that fills it up."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ballast = root / "ballast"

    def fill(self) -> None:
        with self.ballast.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(PAGE))
            except OSError:
                pass

    def free(self) -> None:
        self.ballast.unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    root = tmp_path / "disk"
    root.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(root)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a tmpfs, and not everywhere")
    yield Disk(root)
    subprocess.run(["umount", "--lazy", root], check=True)


KINDS = [
    r"config\.json",
    r"environment\.json",
    r"assets\.json",
    r"images\.json",
    r"events\.jsonl",
    r"reference\.safetensors",
    r"\.reference\.safetensors\.sha256",
    r"seconds\.json",
    r"judge\.safetensors",
    r"generator/training\.jsonl",
    r"generator/checkpoint\.safetensors",
    r"generator/transformer",
    r"generator/classes\.json",
    r"generator/\.done\.sha256",
    r"classes\.json",
    r"increments/01/\d/01-0001\.png",
    r"increments/01/groups/0001\.safetensors",
    r"increments/01/groups/0001\.json",
    r"increments/01/groups/\.0001\.json\.sha256",
    r"increments/01/manifest\.jsonl",
    r"increments/02/learners/0\.safetensors",
    r"dataset/\d/02-0000\.png",
    r"dataset/metadata\.csv",
    r"evaluation/accuracy-convnet-02-1\.json",
    r"metrics\.json",
    r"figures/images\.svg",
    r"figures/redundancy\.png",
]


def test_every_kind_of_write(
    tiny: Config,
    finished: Path,
    disk: Disk,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One run that meets a full disk at one kind after the other, and goes on when there is room again."""
    run = disk.root / "run"
    command = ["distill", str(toml(tiny, tmp_path / "tiny.toml")), "--out", str(run), "--quiet"]
    waiting = list(KINDS)
    met: list[str] = []

    def before(path: Path) -> None:
        name = path.relative_to(run).as_posix()
        if waiting and not disk.ballast.exists() and re.fullmatch(waiting[0], name):
            met.append(waiting.pop(0))
            disk.fill()

    def watch(module: object, name: str, path_of: Callable[..., Path]) -> None:
        original = getattr(module, name)

        def wrapped(*arguments: object, **options: object) -> object:
            before(path_of(*arguments))
            return original(*arguments, **options)

        monkeypatch.setattr(module, name, wrapped)

    def events_of(root: Path, event: str) -> Path:
        """Fill the file of events to the end of its page, so that a line would still have fitted."""
        path: Path = root / "events.jsonl"
        if path.exists() and waiting[:1] == [r"events\.jsonl"]:
            with path.open("a") as file:
                file.write("\n" * (-path.stat().st_size % PAGE))
        return path

    watch(lgd.storage.files, "write_file", lambda path, write: path)
    watch(lgd.diffusion.train_generator, "save_generator", lambda generator, folder, network: folder / "transformer")
    watch(lgd.report.events, "record", events_of)
    while waiting:
        kind = waiting[0]
        assert main(command) == 2, f"no full disk met at {kind}"
        error = capsys.readouterr().err
        assert met[-1] == kind
        last = error.splitlines()[-1]  # a warning about the tiny reference may stand before it
        assert re.fullmatch(r"lgd: No space left on device: .*; finished work is kept", last), (kind, error)
        assert not list(run.rglob("*.tmp")), kind
        disk.free()
    assert met == KINDS
    assert main(command) == 0
    assert digests(run) == digests(finished)


@pytest.mark.parametrize("to", FORMATS)
def test_exports(to: str, finished: Path, disk: Disk, capsys: pytest.CaptureFixture[str]) -> None:
    disk.fill()
    out = disk.root / "export"
    assert main(["export", str(finished), "--to", to, "--out", str(out), "--quiet"]) == 2
    assert re.fullmatch(r"lgd: No space left on device: .*\n", capsys.readouterr().err)
    assert [path.name for path in disk.root.iterdir()] == ["ballast"]


def test_the_other_commands(
    finished: Path, tiny: Config, disk: Disk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    preset = str(toml(tiny, tmp_path / "tiny.toml"))
    disk.fill()
    commands = [
        ["compare", preset, "--methods", "random", "--out"],
        ["ablate", preset, "--over", "seed=0,1", "--out"],
        ["analyze", str(finished), "--out"],
        ["evaluate", str(finished), "--test", preset, "--seeds", "1", "--json"],
        ["report", str(finished), "--out"],
    ]
    for command in commands:
        assert main([*command, str(disk.root / command[0]), "--quiet"]) == 2
        assert re.fullmatch(r"lgd: No space left on device: .*\n", capsys.readouterr().err), command
