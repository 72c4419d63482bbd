"""Choose the digits preset on a validation part of its training set; the test set is never read.

    python benchmarks/tune_digits.py OUT [--runs 4]

Writes OUT/tuning.md: one row per variant. A finished variant is not run again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lgd.comparison import compare_methods
from lgd.config import load_config, with_values
from lgd.console import Console

BASE: dict[str, Any] = {
    "dataset__judge_on": "validation",
    "evaluation__seeds": 3,
    "evaluation__redundancy_seeds": 2,
}
# Four narrow learners cost as much as one of the judging width, and their mean is steadier.
NARROW: dict[str, Any] = {"stages__candidates": 6, "stages__learners": 4, "learner__width": 32}


def narrow(strength: float, scale: float, **values: Any) -> dict[str, Any]:
    return NARROW | {"guidance__strength": strength, "sampling__classifier_free_scale": scale} | values


VARIANTS: dict[str, dict[str, Any]] = {
    "dit, CFG 1.5": {"method": "dit"},
    "dit, CFG 1": {"method": "dit", "sampling__classifier_free_scale": 1.0},
    "lambda 0.3, CFG 1": narrow(0.3, 1.0),
    "lambda 0.3, CFG 1.5": narrow(0.3, 1.5),
    "lambda 0.3, CFG 1, omega 2": narrow(0.3, 1.0, guidance__omega=2.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    lines = ["| variant | 4 IPC | 6 IPC | 10 IPC | redundancy | validity |", "|---|---|---|---|---|---|"]
    for name, values in VARIANTS.items():
        config = with_values(load_config("digits"), **BASE, **{k: v for k, v in values.items() if k != "method"})
        method = values.get("method", "lgd")
        folder = options.out / name.replace(" ", "-").replace(",", "")
        shared = options.out / "assets"
        comparison, _ = compare_methods(config, [method], folder, options.runs, console=Console(), assets=shared)
        row = comparison["methods"][method]
        cells = [f"{row['accuracy'][ipc]['mean']:.1f} ± {row['accuracy'][ipc]['std']:.1f}" for ipc in ("4", "6", "10")]
        lines.append(f"| {name} | {' | '.join(cells)} | {row['redundancy']:.1f} | {row['validity']:.1f} |")
        (options.out / "tuning.md").write_text("\n".join(lines) + "\n")
        print(lines[-1], flush=True)


if __name__ == "__main__":
    main()
