"""The events of a run with their times, one JSON object per line in events.jsonl."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lgd.storage.files import LARGEST_JSON, parse_json, read_limited, written


def record(root: Path, event: str, **values: Any) -> None:
    """Append an event with the time, in seconds since 1970, in a single write."""
    line = json.dumps({"time": round(time.time(), 3), "event": event, **values}, allow_nan=False)
    with (root / "events.jsonl").open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    written(root / "events.jsonl")


def read_events(root: Path) -> list[dict[str, Any]]:
    """Read the events in order; a last line that a killed process left unfinished is skipped."""
    path = root / "events.jsonl"
    if not path.is_file():
        return []
    found = []
    for line in read_limited(path, LARGEST_JSON).splitlines():
        try:
            value = parse_json(line)
        except ValueError:
            continue
        if isinstance(value, dict) and isinstance(value.get("time"), int | float):
            found.append(value)
    return found


@contextmanager
def phase(root: Path, name: str) -> Iterator[None]:
    """Record the start of a phase, and its end or the error that stopped it."""
    start = time.monotonic()
    record(root, "started", phase=name)
    try:
        yield
    except BaseException as error:
        record(root, "stopped", phase=name, error=type(error).__name__, seconds=_since(start))
        raise
    record(root, "finished", phase=name, seconds=_since(start))


def _since(start: float) -> float:
    return round(time.monotonic() - start, 2)
