"""A directory has one writer, who is named; nothing that stands in a lock's place is followed."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from lgd.errors import UserError
from lgd.storage.files import output_directory
from lgd.storage.locks import HOLDER, LOCK, holder_of, locked

HOLD = """
import sys
from pathlib import Path
from lgd.storage.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_directory_has_one_writer(tmp_path: Path) -> None:
    for _ in range(2):
        with (
            output_directory(tmp_path / "run"),
            pytest.raises(UserError, match=f"in use by process {os.getpid()} on {platform.node()}"),
            output_directory(tmp_path / "run"),
        ):
            pass
    assert holder_of(tmp_path / "run") == ""


def test_a_lock_ends_with_its_process_however_it_ends(tmp_path: Path) -> None:
    for killed in (False, True):
        command = [sys.executable, "-c", HOLD, str(tmp_path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout
            assert process.stdout.readline()
            assert holder_of(tmp_path) == f"{process.pid} on {platform.node()}"
            with pytest.raises(UserError, match=f"in use by process {process.pid} on"), locked(tmp_path):
                pass
            if killed:
                process.kill()
        assert holder_of(tmp_path) == ""
        assert (tmp_path / HOLDER).exists() == killed
    with locked(tmp_path):
        assert holder_of(tmp_path) == f"{os.getpid()} on {platform.node()}"
    assert not (tmp_path / HOLDER).exists()


def test_links_are_not_followed(tmp_path: Path) -> None:
    mine, folder = tmp_path / "mine", tmp_path / "run"
    mine.write_text("years of work")
    folder.mkdir()
    (folder / HOLDER).symlink_to(mine)
    with locked(folder):
        assert not (folder / HOLDER).is_symlink()
    (folder / LOCK).unlink(missing_ok=True)
    (folder / LOCK).symlink_to(mine)
    with pytest.raises(UserError, match="cannot write to"), locked(folder):
        pass
    assert mine.read_text() == "years of work"


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_somebody_elses_directory_can_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the lock cannot be taken for lack of permission, the name is believed."""

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with locked(tmp_path):
        monkeypatch.setattr("lgd.storage.locks.FileLock.acquire", refused)
        assert holder_of(tmp_path) == f"{os.getpid()} on {platform.node()}"
        monkeypatch.undo()
