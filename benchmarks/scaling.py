"""Measure the generation phase with one and two workers on each engine, in turns.

    python benchmarks/scaling.py --rounds 3

Results: scaling.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

OPTIONS = [
    "--stages.increments", "3", "--stages.images-per-increment", "16", "--stages.classes-per-unit", "1",
    "--stages.learners", "2", "--generator.steps", "200", "--evaluation.seeds", "1",
    "--evaluation.redundancy-seeds", "0", "--evaluation.classifier.training.epochs", "2", "--quiet",
]  # fmt: skip
SHARED = (
    "config.json", "environment.json", "assets.json", "images.json", "generator", "reference.safetensors",
    ".reference.safetensors.sha256",
)  # fmt: skip
CASES = [("local", 1), ("local", 2), ("ray", 1), ("ray", 2)]


def run(out: Path, engine: str, workers: int) -> tuple[float, float]:
    """Run once; returns the seconds of the generation phase, and of everything but that and the evaluation."""
    command = [sys.executable, "-m", "lgd", "distill", "digits", "--out", str(out), *OPTIONS]
    command += ["--engine", engine, "--address", "local", "--compute.workers", str(workers)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"}
    start = time.monotonic()
    subprocess.run(command, check=True, env=environment)
    whole = time.monotonic() - start
    seconds = json.loads((out / "seconds.json").read_text())
    return seconds["stages"], whole - seconds["stages"] - seconds["evaluation"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pause", type=float, default=0, help="seconds between two runs, for other users")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        first = Path(name) / "first"
        run(first, "local", 2)  # trains the generator and the reference, which the others share
        found: dict[tuple[str, int], list[tuple[float, float]]] = {case: [] for case in CASES}
        for number in range(options.rounds):
            for case in CASES:
                out = Path(name) / f"{case[0]}{case[1]}-{number}"
                out.mkdir()
                time.sleep(options.pause)
                for part in SHARED:
                    copy = shutil.copytree if (first / part).is_dir() else shutil.copy
                    copy(first / part, out / part)
                found[case].append(run(out, *case))
                same = (out / "dataset/metadata.csv").read_bytes() == (first / "dataset/metadata.csv").read_bytes()
                print(number, case, found[case][-1], "same bytes" if same else "OTHER BYTES", flush=True)
        print("| engine | workers | generation, s | times one worker | rest, s |\n|---|---:|---:|---:|---:|")
        for engine, workers in CASES:
            stages = median(s for s, _ in found[engine, workers])
            gain = median(s for s, _ in found[engine, 1]) / stages
            rest = median(r for _, r in found[engine, workers])
            print(f"| {engine} | {workers} | {stages:.1f} | {gain:.2f} | {rest:.1f} |")


if __name__ == "__main__":
    main()
