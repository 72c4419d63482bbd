"""Run the parts of the GPU measurement, each in its own process with a time limit, and write gpu.json and gpu.md.

    benchmarks/gpu/run.sh, which sets the paths, calls this.

A part that fails or takes too long is recorded with its error, and the others go on. The files are written after every
part. Those of the small form fork from a server that has imported the libraries; the others start anew, because a fork
of a process in which a library has asked for the GPU refuses CUDA.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import traceback
from pathlib import Path
from pkgutil import resolve_name
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

Values = dict[str, Any]
"""numbers or short texts by name, unit included"""

LIMITS = {"digits": 110, "sampling": 115, "training": 50, "evaluation": 50, "ray": 60, "compile": 60}
"""seconds for each part: together less than eight minutes"""
SMALL_LIMIT = 240
"""seconds for each part of the small form, which takes a few on an idle core"""
LIBRARIES = ["lgd.cli.main", "gpu_parts", "diffusers.models.transformers", "lgd.experiments.distill"]


def attempt(part: str, small: bool, limit: float) -> Values:
    """Return the values of a part, or its "error", and its "seconds", from a process of its own.

    part: MODULE:FUNCTION. It takes whether to run the small form, and an empty folder.
    """
    context: Any = multiprocessing.get_context("forkserver" if small else "spawn")
    context.set_forkserver_preload(LIBRARIES)
    with TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        start = monotonic()
        process = context.Process(target=answer_with, args=(part, small, answer))
        process.start()
        process.join(limit)
        timed_out = process.is_alive()
        kill_group(process.pid)
        process.kill()
        process.join()
        if timed_out:
            found: Values = {"error": f"stopped after its limit of {limit:.0f} s"}
        elif answer.exists():
            found = json.loads(answer.read_text())
        else:
            found = {"error": f"the process ended with exit code {process.exitcode}"}
        return {**found, "seconds": round(monotonic() - start, 1)}


def answer_with(part: str, small: bool, answer: Path) -> None:
    """Run a part in this process and write its values, or its error, to a file."""
    os.setsid()
    folder = answer.parent / "work"
    folder.mkdir()
    try:
        found: Values = resolve_name(part)(small, folder)
    except BaseException as error:
        traceback.print_exc()
        found = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"}
    temporary = answer.with_suffix(".part")
    temporary.write_text(json.dumps(found))
    temporary.replace(answer)


def kill_group(pid: int | None) -> None:
    """End a process and those that it started; they share its group."""
    if pid is None:
        return
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def write(out: Path, results: dict[str, Values], small: bool) -> None:
    """Write the results as JSON and as a Markdown table."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "gpu.json").write_text(json.dumps({"small": small, "parts": results}, indent=1) + "\n")
    lines = [f"{'Small' if small else 'Full'} form.", "", "| part | quantity | value |", "|---|---|---:|"]
    lines += [
        f"| {part} | {name} | {text(value)} |" for part, values in results.items() for name, value in values.items()
    ]
    (out / "gpu.md").write_text("\n".join(lines) + "\n")


def text(value: Any) -> str:
    """Format a number with four digits, or a text for a cell of a Markdown table."""
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--small", action="store_true", help="small sizes; without a GPU this is the only form")
    parser.add_argument("--parts", nargs="+", choices=list(LIMITS), default=list(LIMITS))
    options = parser.parse_args()
    results = {"machine": attempt("gpu_parts:machine", options.small, SMALL_LIMIT)}
    small = options.small or not results["machine"].get("GPU")
    for name in options.parts:
        write(options.out, results, small)
        results[name] = attempt(f"gpu_parts:{name}", small, SMALL_LIMIT if small else LIMITS[name])
        print(name, json.dumps(results[name]), flush=True)
    write(options.out, results, small)
    print((options.out / "gpu.md").read_text())
    return 1 if any("error" in values for values in results.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
