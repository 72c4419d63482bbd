"""`lgd status`: what is done in a run, what is next, and about how long it takes. Reads file names, never torch."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lgd.errors import UserError, reading
from lgd.report.events import read_events
from lgd.storage.files import read_json
from lgd.storage.locks import holder_of


@dataclass(frozen=True)
class Phase:
    """One part of a run, counted in files that are written when a piece of work is done."""

    name: str
    done: int
    total: int | None
    """None where it is not known yet"""
    event: str
    """phase in events.jsonl"""
    files: tuple[Path, ...] = ()
    """the finished pieces"""

    @property
    def complete(self) -> bool:
        return self.total is not None and self.done >= self.total


def status(path: Path) -> str:
    """Lines about a run, or about every run of a compare directory. Errors: UserError when it is neither."""
    if not (path / "config.json").is_file():
        raise UserError(f"{path}: neither a run nor a compare directory (no config.json)")
    runs = sorted(child.parent for child in path.glob("*-seed*/config.json"))
    with reading(path):
        told = [run_status(run) for run in runs or [path]]
    if not runs:
        return told[0]
    finished = sum((run / "metrics.json").is_file() for run in runs)
    compared = "compared" if (path / "comparison.json").is_file() else "not compared yet"
    return f"{path}: {finished} of {len(runs)} runs finished, {compared}\n" + "".join(told)


def run_status(root: Path) -> str:
    """Lines about one run."""
    phases = run_phases(root)
    if (root / "metrics.json").is_file():
        metrics = read_json(root / "metrics.json")
        last = metrics["increments"][-1]
        head = f"finished, {last['accuracy']['mean']:.1f} % at {last['ipc']} images per class"
    else:
        head = f"{'running' if in_use(root) else 'not running'}; {_next(phases)}; {time_left(root, phases)}"
    lines = [f"{root}: {head}"]
    for one in phases:
        mark = "done" if one.complete else "    " if not one.done else "... "
        lines.append(f"  {mark}  {one.name:<28} {one.done} of {'?' if one.total is None else one.total}")
    return "\n".join(lines) + "\n"


def run_phases(root: Path) -> list[Phase]:
    """Every part of a run in order. The generator and the reference may lie beside the run, shared with others."""
    config = read_json(root / "config.json")
    K = config["stages"]["increments"]
    assets = next((f for f in (root, root.parent) if (f / "assets.json").is_file()), root)
    phases = []
    own = config["generator"]
    made = "source.json" if own.get("source") and own.get("tune", "none") == "none" else "done"
    for name, file in (("generator", assets / "generator" / made), ("reference", assets / "reference.safetensors")):
        if file.exists() or assets == root:
            phases.append(Phase(name, int(file.exists()), 1, name))
    groups = None
    if (root / "classes.json").is_file():
        groups = -(-len(read_json(root / "classes.json")) // config["stages"]["classes_per_unit"])
    for index in range(1, K + 1):
        folder = root / "increments" / f"{index:02d}"
        files = tuple(folder.glob("groups/*.json"))
        total = len(files) if (folder / "done").exists() else groups
        phases.append(Phase(f"increment {index}, class groups", len(files), total, "stages", files))
    cells = tuple((root / "evaluation").glob("*.json"))
    expected = K * (config["evaluation"]["seeds"] + config["evaluation"]["redundancy_seeds"])
    phases.append(Phase("evaluation, classifiers", len(cells), expected, "evaluation", cells))
    return phases


def time_left(root: Path, phases: list[Phase], now: float | None = None) -> str:
    """From the pace of the pieces finished since their phase started; phases of unknown pace are not counted."""
    now = time.time() if now is None else now
    starts: dict[str, float] = {}
    for event in read_events(root):
        if event["event"] == "started":
            starts[str(event.get("phase"))] = float(event["time"])
    left, unknown = 0.0, False
    for name in dict.fromkeys(one.event for one in phases if not one.complete):
        same = [one for one in phases if one.event == name]
        pieces = [file.stat().st_mtime for one in same for file in one.files]
        recent = [t for t in pieces if t >= starts.get(name, now)]
        missing = sum((one.total or 0) - one.done for one in same)
        if recent and all(one.total is not None for one in same):
            left += missing * (max(recent) - starts[name]) / len(recent)
        else:
            unknown = True
    if not left:
        return "time left not known yet"
    return f"{'more than' if unknown else 'about'} {duration(left)} left"


def duration(seconds: float) -> str:
    """In the two largest units that matter: 45 s, 3 min, 2 h 10 min."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def in_use(root: Path) -> bool:
    """Return whether a process holds this directory or the compare directory around it."""
    return any(holder_of(folder) for folder in (root, root.parent))


def _next(phases: list[Phase]) -> str:
    waiting: list[Any] = [one for one in phases if not one.complete]
    return f"next: {waiting[0].name}" if waiting else "next: putting the results together"
