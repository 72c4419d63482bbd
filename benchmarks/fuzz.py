"""Fuzz the readers of untrusted files, such as manifests, with bytes that atheris chooses by coverage.

    pip install atheris
    python benchmarks/fuzz.py -runs=200000 -max_len=400

It stops at any exception but UserError and writes the input to a file. Results: docs/reliability.md.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["lgd", "tomllib", "json"]):
    from lgd.config import from_dict, load_config
    from lgd.data.class_names import wanted_classes
    from lgd.diffusion.class_map import read_table
    from lgd.distillation.store import read_manifest, read_rows
    from lgd.errors import UserError
    from lgd.execution.receipts import damaged, receipt_of
    from lgd.report.events import read_events

ROOT = Path(tempfile.mkdtemp(prefix="lgd-fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
ROW = {"file": "3/01-0000.png", "class_name": "3", "label": 3, "increment": 1, "slot": 0, "chosen": 0}


def as_configuration(data: bytes) -> None:
    (ROOT / "x.toml").write_bytes(data)
    load_config(str(ROOT / "x.toml"))


def as_manifest(data: bytes) -> None:
    (ROOT / "manifest.jsonl").write_bytes(data)
    read_manifest(ROOT)


def as_receipt(data: bytes) -> None:
    receipt_of(ROOT / "done").write_bytes(data)
    for path in damaged(ROOT / "done", ROOT):
        assert ROOT in (path, *path.parents)


def as_fields(data: bytes) -> None:
    """Read valid JSON with the chosen text as a name and a value."""
    text = data.decode(errors="replace")
    name, _, value = text.partition("=")
    from_dict({name: {value: text}}, "here")
    read_rows(ROOT, [{**ROW, name: value}])


def as_class_map(data: bytes) -> None:
    (ROOT / "map.toml").write_bytes(data)
    read_table(str(ROOT / "map.toml"), ["3"])


def as_class_list(data: bytes) -> None:
    (ROOT / "classes").write_bytes(data)
    wanted_classes([str(ROOT / "classes")])


def as_events(data: bytes) -> None:
    (ROOT / "events.jsonl").write_bytes(data)
    read_events(ROOT)


READERS = (as_configuration, as_manifest, as_receipt, as_fields, as_class_map, as_class_list, as_events)


def one(data: bytes) -> None:
    if data:
        try:
            READERS[data[0] % len(READERS)](data[1:])
        except UserError as error:
            json.dumps(str(error))


if __name__ == "__main__":
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
