"""The status of a run: finished and remaining work, and an estimate of the time left. Loads no torch."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from lgd.config import from_dict, with_defaults
from lgd.distillation.layout import CALIBRATED_STRENGTHS, Run, class_groups, combinations, runs_below
from lgd.errors import UserError, reading
from lgd.evaluation.schedule import cells_of
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
    """Describe a run, a comparison or an ablation in lines. Errors: UserError when it is none of them."""
    if not (path / "config.json").is_file():
        raise UserError(f"{path}: neither a run nor a directory of compare or ablate (no config.json)")
    with reading(path):
        if labels := combinations(path):
            done = sum((folder / "comparison.json").is_file() for folder in labels)
            groups = {label: runs_below(folder) for folder, label in labels.items()}
            head = f"{done} of {len(labels)} combinations finished"
        elif runs := runs_below(path):
            groups = {}
            for run in runs:
                groups.setdefault(run.name.rpartition("-seed")[0], []).append(run)
            done = sum((run / "metrics.json").is_file() for run in runs)
            compared = "compared" if (path / "comparison.json").is_file() else "not compared yet"
            head = f"{done} of {len(runs)} runs finished, {compared}"
        else:
            return run_status(path)
        lines = [f"  {name:<{max(map(len, groups))}}  {group_status(runs)}\n" for name, runs in groups.items()]
    return f"{path}: {head}\n{''.join(lines)}lgd status RUN shows the parts of one run.\n"


def group_status(runs: Sequence[Path]) -> str:
    """Describe the runs of one method or combination in a line: the finished ones, and the first that is not."""
    finished = [read_json(run / "metrics.json")["increments"][-1] for run in runs if (run / "metrics.json").is_file()]
    line = f"{len(finished)} of {len(runs)} runs finished" if runs else "not begun"
    if finished:
        mean = fmean(last["accuracy"]["mean"] for last in finished)
        line += f", {mean:.1f} % at {finished[-1]['ipc']} images per class"
    begun = next((run for run in runs if not (run / "metrics.json").is_file()), None)
    return line if begun is None else f"{line}; {begun.name}: {progress(begun, run_phases(begun))}"


def progress(root: Path, phases: list[Phase]) -> str:
    running = any(map(holder_of, (root, root.parent)))  # a comparison holds the directory around its runs
    due = next((one.name for one in phases if not one.complete), "putting the results together")
    return f"{'running' if running else 'not running'}; next: {due}; {time_left(root, phases)}"


def run_status(root: Path) -> str:
    phases = run_phases(root)
    if (root / "metrics.json").is_file():
        metrics = read_json(root / "metrics.json")
        last = metrics["increments"][-1]
        head = f"finished, {last['accuracy']['mean']:.1f} % at {last['ipc']} images per class"
    elif phases[-1].event != "evaluation" and all(one.complete for one in phases):
        head = "finished, a selection of real images"
    else:
        head = progress(root, phases)
    lines = [f"{root}: {head}"]
    for one in phases:
        mark = "done" if one.complete else "    " if not one.done else "... "
        lines.append(f"  {mark}  {one.name:<38} {one.done} of {'?' if one.total is None else one.total}")
    return "\n".join(lines) + "\n"


def run_phases(root: Path) -> list[Phase]:
    """Return every part of a run in order; which assets it waits for, and whether it is evaluated, it has recorded."""
    values = read_json(root / "config.json")
    config, run = from_dict(with_defaults(values, values), str(root / "config.json")), Run(root)
    parts: dict[str, Any] = {"assets": {}, "evaluated": True}
    if run.parts.is_file():
        parts = read_json(run.parts)
    phases = [counted(name, name, [root / file]) for name, file in parts["assets"].items()]
    classes = root / "classes.json"
    groups = class_groups(len(read_json(classes)), config.stages.classes_per_unit) if classes.is_file() else None
    last = run.last_increment(config.stages.increments)
    for index in range(1, last + 1):
        if run.calibration_row(index, 0).parent.exists():
            rows = [run.calibration_row(index, row) for row in range(CALIBRATED_STRENGTHS)]
            table = run.calibration(index)
            found = f"found {read_json(table)['strength']:g}" if table.exists() else "strengths"
            phases.append(counted(f"calibration, {found}", "stages", rows))
        due = [run.group(index, group) for group in range(len(groups))] if groups else None
        one = counted(f"increment {index}, class groups", "stages", due)
        undecided = config.stages.schedule == "adaptive" and index > 1 and not run.fresh(index).exists()
        phases.append(replace(one, name=f"{one.name}, if needed") if undecided and not one.complete else one)
    if parts["evaluated"]:
        cells = cells_of(config.evaluation, replace(config.stages, increments=last))
        phases.append(counted("evaluation, classifiers", "evaluation", [run.cell(cell.name) for cell in cells]))
    return phases


def counted(name: str, event: str, due: Sequence[Path] | None) -> Phase:
    """Return a phase whose pieces are done when the files in `due` are there; None: they are not known yet."""
    files = tuple(file for file in due or () if file.exists())
    return Phase(name, len(files), None if due is None else len(due), event, files)


def time_left(root: Path, phases: list[Phase]) -> str:
    """Estimate the time left from the pace of each phase; phases of unknown pace are not counted."""
    now = time.time()
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
    """Format seconds in the two largest units that matter: 45 s, 3 min, 2 h 10 min."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
