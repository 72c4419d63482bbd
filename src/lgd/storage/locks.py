"""A lock on a directory, which ends with the process that holds it, on Linux, macOS and Windows."""

import errno
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from lgd.errors import UserError

LOCK = ".lock"
HOLDER = ".holder"
"""names the process: a file of its own, because Windows lets nobody read a locked file and filelock may empty it"""
PATIENCE = 0.5  # seconds to wait for a lock, because `holder_of` takes it for a moment
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a directory for the block, following no links of its two files. Errors: UserError naming the holder."""
    try:
        held = FileLock(folder / LOCK).acquire(timeout=PATIENCE)
    except Timeout:
        raise UserError(f"{folder} is in use by process {named(folder) or 'unknown'}") from None
    except OSError as error:
        if error.errno in NO_LOCKS:
            raise UserError(f"cannot lock {folder}: {error.strerror}; choose --out on another file system") from None
        raise UserError(f"cannot write to {folder}: {error.strerror}") from None
    with held:
        holder = folder / HOLDER
        holder.unlink(missing_ok=True)
        with holder.open("x") as file:
            file.write(f"{os.getpid()} on {platform.node()}")
        try:
            yield
        finally:
            holder.unlink(missing_ok=True)


def holder_of(folder: Path) -> str:
    """Return the process that holds a directory, as `PID on HOST`; empty where none does."""
    try:
        if (folder / LOCK).exists():
            FileLock(folder / LOCK).acquire(timeout=0).lock.release()
    except Timeout:
        return named(folder) or "unknown"
    except OSError:  # somebody else's directory, where the name alone can be read
        return named(folder)
    return ""


def named(folder: Path) -> str:
    try:
        with (folder / HOLDER).open("rb") as file:
            return file.read(100).decode(errors="replace").strip()
    except OSError:
        return ""
