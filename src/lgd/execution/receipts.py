"""Receipts: the checksums of a unit's files, in `.NAME.sha256` beside its `done` file NAME, in the format of sha256sum.

A unit that was killed between `done` and its receipt counts as finished, and its files are not checked.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from lgd.storage.files import read_limited, sha256, write_text

LARGEST = 64 * 2**20  # bytes; half a million files stay below
LINE = re.compile(r"([0-9a-f]{64})  ([^\0]+)")


def receipt_of(done: Path) -> Path:
    return done.with_name(f".{done.name}.sha256")


def write_receipt(done: Path, paths: Iterable[Path]) -> None:
    names = sorted({os.path.relpath(path, done.parent) for path in paths})
    write_text(receipt_of(done), "".join(f"{sha256(done.parent / name)}  {name}\n" for name in names))


def damaged(done: Path, root: Path) -> list[Path]:
    """List the files of a unit that are missing or differ from its receipt; none without a receipt.

    A receipt that is empty or malformed, or that names a file outside `root`, counts as damaged itself.
    """
    receipt = receipt_of(done)
    if not receipt.exists():
        return []
    lines = [LINE.fullmatch(line) for line in read_limited(receipt, LARGEST).splitlines()]
    entries = [(m[1], Path(os.path.normpath(done.parent / m[2]))) for m in lines if m]
    if not entries or len(entries) < len(lines) or any(root not in path.parents for _, path in entries):
        return [receipt]
    return [path for digest, path in entries if not path.is_file() or sha256(path) != digest]
