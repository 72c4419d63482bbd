"""TensorBoard scalars of a run and of a generator's training (extra: tensorboard)."""

import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lgd.errors import UserError
from lgd.storage.files import read_json

from .events import read_events


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
