"""The events of a run with their times, a JSON object per line of events.jsonl, and TensorBoard scalars (an extra)."""

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lgd.errors import UserError
from lgd.storage.files import LARGEST_JSON, parse_json, read_json, read_limited, written


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


def check_tensorboard() -> None:
    """Check that TensorBoard is installed. Errors: UserError naming the extra."""
    if find_spec("tensorboard") is None:
        raise UserError("--tensorboard needs the extra tensorboard: pip install 'lgd[tensorboard]'")


def write_scalars(root: Path) -> None:
    """Write `root`/tensorboard: accuracy and both validities by images per class, and the seconds of each phase."""
    from torch.utils.tensorboard import SummaryWriter

    metrics = read_json(root / "metrics.json")
    with SummaryWriter(str(root / "tensorboard")) as writer:
        for row in metrics["increments"]:
            writer.add_scalar("accuracy, %", row["accuracy"]["mean"], row["ipc"])
            writer.add_scalar("validity, %", row["validity"], row["ipc"])
            writer.add_scalar("validity by the reference, %", row["reference_validity"], row["ipc"])
        for event in read_events(root):
            if event["event"] == "finished":
                writer.add_scalar(f"seconds/{event['phase']}", event["seconds"], 0, event["time"])


def write_training(root: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Replace `root`/tensorboard: write every column of a generator's training.jsonl by step."""
    from torch.utils.tensorboard import SummaryWriter

    folder = root / "tensorboard"
    shutil.rmtree(folder, ignore_errors=True)
    with SummaryWriter(str(folder)) as writer:
        for row in rows:
            for name in row.keys() - {"step"}:
                writer.add_scalar(f"generator/{name}", row[name], row["step"])
