"""Results on an object store that all machines reach: a URL that fsspec opens, such as s3://bucket/run.

Every process works on files in a local copy, the mirror. Each file that a process finishes is uploaded at once, in
the same order, so that a `done` file comes last there, too. Other machines download what they lack before they start.
The mirrors are deleted in the end; the store keeps the results.
"""

import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from psutil import pid_exists

from lgd.errors import UserError

from .files import is_private, on_written, output_directory, parse_json, safe_name
from .locks import LOCK


@dataclass(frozen=True)
class Mirror:
    """A local directory and the URL that it mirrors. Small enough to be sent to worker processes."""

    root: Path
    """the same on every machine"""
    url: str

    @contextmanager
    def sending(self) -> Iterator[None]:
        with on_written(self.send):
            yield

    def send(self, path: Path) -> None:
        """Upload a file below `root`, or delete it there when it is deleted here.

        A `done` file comes after the files beside it, which other software may have written.
        """
        if self.root not in path.parents:
            return
        store, base = self.open()
        there = f"{base}/{path.relative_to(self.root).as_posix()}"
        if not path.exists():
            store.invalidate_cache()
            if store.exists(there):
                store.rm_file(there)
            return
        if path.name == "done":
            self.settle(path.parent)
        store.put_file(str(path), there)

    def settle(self, folder: Path) -> None:
        """Upload the files below `folder` that the store lacks or has in another size, `done` last."""
        there = self.listing(folder)
        store, base = self.open()
        found = [path for path in sorted(folder.rglob("*")) if path.is_file() and not is_private(path)]
        for path in sorted(found, key=lambda path: path.name == "done"):
            name = path.relative_to(self.root).as_posix()
            if there.get(name) != path.stat().st_size:
                store.put_file(str(path), f"{base}/{name}")

    def fetch(self, phase: str) -> None:
        """Download the files that this machine lacks, once per `phase`, while its other processes wait."""
        private = self.root.parent
        private.mkdir(mode=0o700, parents=True, exist_ok=True)
        if hasattr(os, "getuid") and private.stat().st_uid != os.getuid():
            raise UserError(f"{private} on {platform.node()} belongs to another user")
        self.root.mkdir(exist_ok=True)
        with FileLock(private / LOCK):
            marker = private / "fetched"
            if marker.exists() and marker.read_text() == phase:
                return
            store, base = self.open()
            there = self.listing()
            here = {name: (self.root / name).stat().st_size for name in there if (self.root / name).is_file()}
            lacking = [name for name, size in there.items() if here.get(name) != size]
            for name in lacking:
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            if lacking:
                store.get([f"{base}/{name}" for name in lacking], [str(self.root / name) for name in lacking])
            marker.write_text(phase)

    def open(self) -> tuple[Any, str]:
        """Return fsspec's file system and the path of the URL in it."""
        from fsspec.core import url_to_fs

        store, base = url_to_fs(self.url)
        return store, base.rstrip("/")

    def remove(self, names: Iterable[str]) -> None:
        """Delete files in the store, `config.json` last: it shows that lgd made the rest."""
        store, base = self.open()
        for name in sorted(names, key=lambda name: name == "config.json"):
            store.rm_file(f"{base}/{name}")

    def listing(self, folder: Path | None = None) -> dict[str, int]:
        """Return names relative to the root, and sizes. Errors: UserError for a name that leads out of the mirror."""
        store, base = self.open()
        store.invalidate_cache()
        below = "/".join([base, *(folder or self.root).relative_to(self.root).parts])
        found = store.find(below, detail=True) if store.exists(below) else {}
        sizes = {path[len(base) + 1 :]: int(info["size"]) for path, info in found.items()}
        for name in sizes:
            if ".." in Path(name).parts or Path(name).is_absolute():
                raise UserError(f"{self.url}: unsafe name {name!r}")
        return {name: size for name, size in sizes.items() if not is_private(Path(name))}


_active: Mirror | None = None


def active_mirror() -> Mirror | None:
    return _active


@contextmanager
def workspace(out: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """Open an output directory, as `output_directory` does; a URL by its mirror. Errors: UserError."""
    if is_remote(out):
        with mirrored(str(out).rstrip("/"), overwrite) as root:
            yield root
    else:
        with output_directory(Path(str(out).removeprefix("file://")), overwrite) as root:
            yield root


@contextmanager
def fetched(place: str | Path) -> Iterator[Path]:
    """Return a directory to read: the path itself, or a copy of the files at a URL until the block ends."""
    if is_remote(place):
        with new_mirror(str(place).rstrip("/")) as mirror:
            if not opened(mirror):
                raise UserError(f"{place}: nothing there")
            mirror.fetch("read")
            yield mirror.root
    else:
        yield Path(str(place).removeprefix("file://"))


def is_remote(place: str | Path) -> bool:
    return "://" in str(place) and not str(place).startswith("file://")


@contextmanager
def new_mirror(url: str) -> Iterator[Mirror]:
    """Return an empty mirror, in a directory that no other user may read."""
    folder = Path(tempfile.mkdtemp(prefix="lgd-"))
    try:
        yield Mirror(folder / safe_name(url.rpartition("/")[2]), url)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def opened(mirror: Mirror) -> dict[str, int]:
    """Return the names and sizes of the files at the URL. Errors: UserError when the store cannot be opened."""
    try:
        return mirror.listing()
    except UserError:
        raise
    except Exception as error:  # every store has its own kinds: no such protocol, package, credentials, host, bucket
        raise UserError(f"{mirror.url}: cannot be opened: {str(error) or type(error).__name__}") from None


@contextmanager
def mirrored(url: str, overwrite: bool) -> Iterator[Path]:
    """Download a URL into a mirror, and hold both for this process alone. Errors: as `workspace`."""
    global _active
    with new_mirror(url) as mirror:
        opened(mirror)
        with exclusively(mirror):
            there = mirror.listing()
            if there and "config.json" not in there:
                raise UserError(f"{url} is not empty and was not made by lgd; choose another --out")
            if overwrite:
                mirror.remove(there)
            mirror.fetch("start")
            _active = mirror
            try:
                with output_directory(mirror.root), mirror.sending():
                    try:
                        yield mirror.root
                    finally:
                        mirror.settle(mirror.root)
            finally:
                _active = None


@contextmanager
def exclusively(mirror: Mirror) -> Iterator[None]:
    """Hold URL/.lock. Errors: UserError naming the holder, unless it is a process of this machine that has ended."""
    store, base = mirror.open()
    path = f"{base}/{LOCK}"
    me = json.dumps({"process": os.getpid(), "machine": platform.node()}).encode()
    try:
        store.pipe_file(path, me, mode="create")
    except FileExistsError:
        process, machine = _holder(store.cat_file(path))
        if machine != platform.node() or pid_exists(process):
            raise UserError(
                f"{mirror.url} is in use by process {process} on {machine}; if that is gone, delete {mirror.url}/{LOCK}"
            ) from None
        store.pipe_file(path, me)
    except OSError as error:
        raise UserError(f"cannot write to {mirror.url}: {error}") from None
    try:
        yield
    finally:
        store.rm_file(path)


def _holder(text: bytes) -> tuple[int, str]:
    """Return the process and machine of a lock; 0 and an unknown machine of any other file."""
    try:
        value = parse_json(text[:1000])
        return min(int(value["process"]), 2**31 - 1), str(value["machine"])
    except (ValueError, TypeError, KeyError):
        return 0, "an unknown machine"
