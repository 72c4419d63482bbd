"""Compare settings for the digits preset on a validation part of its training set; the test set is never read.

    python benchmarks/tune_digits.py OUT [--runs 3] [--only TEXT]

Writes OUT/tuning.md: one row per variant and method. A finished variant is not run again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lgd.config import load_config, with_values
from lgd.experiments.compare import compare_methods

EVALUATION: dict[str, Any] = {
    "dataset.eval_split": "validation",
    "evaluation.seeds": 3,
    "evaluation.redundancy_seeds": 2,
    # The preset's values while it was tuned, so that later changes of the preset do not change these rows.
    "guidance.deviation": 0.3,
    "learner.training.epochs": 100,
}


def training(steps: int, batch_size: int, ema_decay: float) -> dict[str, Any]:
    """Return these generator settings, with the other settings of the former preset."""
    return {
        "generator.steps": steps,
        "generator.batch_size": batch_size,
        "generator.ema_decay": ema_decay,
        "generator.learning_rate": 2e-3,
        "generator.precision": "float32",
        "generator.blocks": 3,
    }


QUICK = {"generator.precision": "auto"}
NO_NULL = {"generator.label_dropout": 0.0}
MIN_SNR = {"generator.min_snr": 5.0}
FAST = {"generator.learning_rate": 4e-3}
FASTER = {"generator.learning_rate": 6e-3}
TWO_BLOCKS = {"generator.blocks": 2}

SHORTER = "2200 x 64, quick, two blocks, rate 6e-3"

GENERATORS = {
    "1000 x 64": training(1000, 64, 0.99),
    "2000 x 32": training(2000, 32, 0.995),
    "4000 x 16": training(4000, 16, 0.998),
    "4000 x 32": training(4000, 32, 0.998),
    "2000 x 32, quick, no null class": training(2000, 32, 0.998) | QUICK | NO_NULL,
    "2000 x 32, quick, no null class, min-SNR 5": training(2000, 32, 0.998) | QUICK | NO_NULL | MIN_SNR,
    "2000 x 32, quick, no null class, rate 4e-3": training(2000, 32, 0.998) | QUICK | NO_NULL | FAST,
    "2500 x 32, quick, no null class, rate 4e-3": training(2500, 32, 0.998) | QUICK | NO_NULL | FAST,
    "4000 x 32, quick, two blocks, rate 4e-3": training(4000, 32, 0.998) | QUICK | FAST | TWO_BLOCKS,
    "2400 x 64, quick, two blocks, rate 6e-3": training(2400, 64, 0.998) | QUICK | TWO_BLOCKS | FASTER,
    SHORTER: training(2200, 64, 0.998) | QUICK | TWO_BLOCKS | FASTER,
    "2000 x 64, quick, two blocks, rate 6e-3": training(2000, 64, 0.995) | QUICK | TWO_BLOCKS | FASTER,
}
"""by optimiser steps x batch size; quick: generator.precision auto; no null class: generator.label_dropout 0"""

MILD = {"guidance.strength": 0.3}
STRONG = {"guidance.strength": 0.45}
SHORT = {"learner.training.epochs": 50}
LONG = {"learner.training.epochs": 300, "stages.learners": 2}
PRESET = STRONG | SHORT | {"guidance.deviation": 0.1}
BOTH = ("dit", "lgd")

VARIANTS: list[tuple[str, str, tuple[str, ...], dict[str, Any]]] = [
    ("1000 x 64", "lambda 0.3", ("random", *BOTH), MILD),
    ("1000 x 64", "lambda 0.3, CFG 1.5", BOTH, MILD | {"sampling.classifier_free_scale": 1.5}),
    ("1000 x 64", "lambda 0.3, kappa 12", ("lgd",), MILD | {"stages.candidates": 12}),
    ("1000 x 64", "lambda 0.3, seed set mgd3", ("lgd",), MILD | {"stages.seed_method": "mgd3"}),
    ("1000 x 64", "lambda 0.3, seed set igd", ("lgd",), MILD | {"stages.seed_method": "igd"}),
    ("2000 x 32", "lambda 0.3", BOTH, MILD),
    ("2000 x 32", "lambda 0.3, CFG 1.5", BOTH, MILD | {"sampling.classifier_free_scale": 1.5}),
    ("2000 x 32", "lambda 0.45", BOTH, STRONG),
    ("2000 x 32", "lambda 0.45, learners 50 epochs", ("lgd",), STRONG | SHORT),
    ("2000 x 32", "lambda 0.3, gamma 0.1", ("lgd",), MILD | {"guidance.deviation": 0.1}),
    ("4000 x 16", "lambda 0.3", BOTH, MILD),
    ("4000 x 32", "lambda 0.3", BOTH, MILD),
    ("4000 x 32", "lambda 0.45", ("lgd",), STRONG),
    ("4000 x 32", "lambda 0.45, kappa 3", ("lgd",), STRONG | {"stages.candidates": 3}),
    ("4000 x 32", "lambda 0.45, kappa 12", ("lgd",), STRONG | {"stages.candidates": 12}),
    ("4000 x 32", "lambda 0.45, two learners of 300 epochs", ("lgd",), STRONG | LONG),
    ("4000 x 32", "lambda 0.45, learners 50 epochs", ("lgd",), STRONG | SHORT),
    (
        "4000 x 32",
        "lambda 0.45, learners 50 epochs, gamma 0.1",
        ("lgd",),
        PRESET,
    ),
    ("4000 x 32", "the former preset", BOTH, PRESET),
    *((generator, "as the former preset", BOTH, PRESET) for generator in GENERATORS if "quick" in generator),
    (SHORTER, "omega 3", ("lgd",), PRESET | {"guidance.omega": 3.0}),
    (SHORTER, "route denoiser", ("lgd",), PRESET | {"guidance.route": "denoiser"}),
]
"""generator, name, methods, fields"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="", help="only rows whose generator and variant contain this text")
    options = parser.parse_args()
    ipcs = ("2", "4", "6", "10")
    lines = [
        f"| generator | variant | method | {' | '.join(f'{ipc} IPC' for ipc in ipcs)} | redundancy | validity |",
        "|---|---|---|" + "---:|" * (len(ipcs) + 2),
    ]
    for generator, name, methods, values in VARIANTS:
        if options.only not in f"{generator}: {name}":
            continue
        config = with_values(load_config("digits"), EVALUATION | GENERATORS[generator] | values)
        place = f"{generator} {name}".replace(" ", "-").replace(",", "")
        assets = options.out / "assets" / generator.replace(" ", "")
        comparison, _ = compare_methods(config, methods, options.out / place, options.runs, assets=assets)
        for method in methods:
            row = comparison["methods"][method]
            cells = [f"{row['accuracy'][ipc]['mean']:.1f} ± {row['accuracy'][ipc]['std']:.1f}" for ipc in ipcs]
            found = f"{row['redundancy']:.1f} | {row['validity']:.1f}"
            lines.append(f"| {generator} | {name} | {method} | {' | '.join(cells)} | {found} |")
            print(lines[-1], flush=True)
        (options.out / "tuning.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
