"""Nothing that only Linux or POSIX has is needed: macOS and Windows, by their missing functions."""

from __future__ import annotations

import ast
import ctypes
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from lgd.cli.main import main
from lgd.config import Config
from lgd.data import stores
from lgd.execution import hardware
from tests.cli.test_main import toml
from tests.test_import_order import MODULES, ROOT, tree

MISSING = {
    "O_DIRECTORY", "O_NOFOLLOW", "chown", "fchmod", "fork", "forkpty", "getegid", "geteuid", "getgid", "getloadavg",
    "getpgid", "getuid", "killpg", "mkfifo", "nice", "posix_fadvise", "pread", "preadv", "pwrite", "pwritev",
    "register_at_fork", "sched_getaffinity", "sched_setaffinity", "setsid", "statvfs", "sysconf", "uname", "wait",
    "waitpid",
}  # fmt: skip
"""names of `os` that Windows, or macOS, lacks"""
ASKED_FOR = {("storage/object_store.py", "getuid")}
"""uses behind a `hasattr`"""
NEEDED = {"getuid", "register_at_fork", "statvfs", "waitpid"}
"""those that the standard library calls on Linux"""
ASCII_ALONE = {"object_store.py", "ray.py", "hub.py"}
"""modules that read texts of ASCII characters without an encoding"""


def test_no_function_of_one_system() -> None:
    """Nor a text file that is read without an encoding, which Windows reads in a code page."""
    for path in MODULES:
        nodes = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute)]
        used = {node.attr for node in nodes if isinstance(node.value, ast.Name) and node.value.id in ("os", "signal")}
        allowed = {name for file, name in ASKED_FOR if path == ROOT / file}
        assert not used & (MISSING | {"SIGKILL", "SIGALRM", "alarm"}) - allowed, path
        assert "read_text()" not in path.read_text() or path.name in ASCII_ALONE, path


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what macOS or Windows lacks, after pytest has made its folders with it."""
    for name in MISSING - NEEDED:
        monkeypatch.delattr(os, name, raising=False)
    stores.decoders.cache_clear()


def test_the_demo_runs_there(elsewhere: None, tiny: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    preset = toml(tiny, tmp_path / "tiny.toml")
    out = tmp_path / "out"
    quick = ["--increments", "2", "--evaluation.seeds", "1", "--evaluation.redundancy-seeds", "0"]
    assert main(["compare", str(preset), "--methods", "lgd", "--runs", "1", *quick, "--out", str(out), "--quiet"]) == 0
    assert "| lgd " in capsys.readouterr().out
    assert main(["status", str(out)]) == 0


def test_images_are_decoded_and_read_back_there(elsewhere: None, tmp_path: Path) -> None:
    pixels = torch.randint(0, 256, (6, 9, 9), dtype=torch.uint8)
    for i, image in enumerate(pixels):
        path = tmp_path / "photos" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.numpy()).save(path)
    from lgd.config import DatasetConfig
    from lgd.data.splits import load_splits

    config = DatasetConfig(f"folder:{tmp_path / 'photos'}", size=9, test_fraction=0.34)
    for _ in range(2):  # the second time from the file of pixels
        splits = load_splits(config)
        found = {bytes(image.flatten().tolist()) for part in (splits.train, splits.test) for image in all_of(part)}
        assert found == {bytes(image.flatten().tolist()) for image in pixels}


def all_of(part: Any) -> Any:
    return part.pixels(torch.arange(len(part)))


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_freed_memory_is_left_to_other_systems(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_library(name: object) -> None:
        raise TypeError("bad argument type")  # Windows' answer to None

    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(ctypes, "CDLL", no_library)
    hardware.keep_freed_memory()


def test_the_processor_has_a_name_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_file(*_: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", no_file)
    assert hardware.device_name("cpu")
