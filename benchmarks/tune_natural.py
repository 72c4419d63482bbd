"""Compare settings for natural images on a validation part of the training set; the test set is never read.

    python benchmarks/tune_natural.py benchmarks/cifar10.toml parquet:TRAIN,TEST OUT [--increments 3] [--workers 2]

Writes OUT/tuning.md, with a row per variant, at the IPC of the configuration's increments. A finished variant is not
run again. The generator was trained on the whole training set, so samples may resemble validation images, in every
variant alike.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lgd.config import load_config, with_values
from lgd.experiments.compare import compare_methods


def guided(strength: float, deviation: float, **more: Any) -> dict[str, Any]:
    """Return the fields of learnability guidance."""
    return {"guidance.strength": strength, "guidance.deviation": deviation, **more}


def influenced(strength: float, deviation: float) -> dict[str, Any]:
    """Return the fields of influence guidance."""
    return {"influence.strength": strength, "influence.deviation": deviation}


PINNED: dict[str, Any] = {
    "guidance.omega": 1.0,
    "guidance.route": "x0",
    "guidance.every": 2,
    "guidance.decoder": "",
    "evaluation.evaluations": 1,
}
"""the configuration's values while it was tuned, so that later changes of it do not change these rows"""

SMALL = {"guidance.decoder": "benchmarks/generators/cifar10-decoder"}
FULL = {"guidance.route": "denoiser"}

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "dit": ("dit", {}),
    "selection only": ("lgd-selection-only", {}),
    "lgd 0.03, 0.01": ("lgd", guided(0.03, 0.01)),
    "selection only, omega 3": ("lgd-selection-only", {"guidance.omega": 3.0}),
    "lgd 0.03, 0.01, omega 3": ("lgd", guided(0.03, 0.01, **{"guidance.omega": 3.0})),
    "lgd small, route denoiser, 0.03, 0.01, omega 3": (
        "lgd",
        guided(0.03, 0.01, **{"guidance.omega": 3.0}) | SMALL | FULL,
    ),
    "lgd small, 0.03, 0.01, omega 3": ("lgd", guided(0.03, 0.01, **{"guidance.omega": 3.0}) | SMALL),
    "lgd small, 0.06, 0.02, omega 3": ("lgd", guided(0.06, 0.02, **{"guidance.omega": 3.0}) | SMALL),
    "igd 0.03, 0.01": ("igd", influenced(0.03, 0.01) | SMALL),
    "igd 0.1, 0.01": ("igd", influenced(0.1, 0.01) | SMALL),
    "mgd3": ("mgd3", {}),
    "random": ("random", {}),
}
"""by name: method and fields; the two numbers of a name are lambda (k for igd) and gamma"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("source")
    parser.add_argument("out", type=Path)
    parser.add_argument("--increments", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    options = parser.parse_args()
    base = with_values(
        load_config(options.config),
        {
            "dataset.source": options.source,
            "dataset.eval_split": "validation",
            "stages.increments": options.increments,
            **PINNED,
            "compute.workers": options.workers,
        },
    )
    ipcs = sorted({*base.evaluation.ipc, base.stages.images_per_increment * options.increments})
    heads = " | ".join(f"{ipc} IPC" for ipc in ipcs)
    lines = [f"| variant | {heads} | redundancy | validity |", "|---|" + "---:|" * (len(ipcs) + 2)]
    for name in options.only:
        method, values = VARIANTS[name]
        place = options.out / name.replace(" ", "-").replace(",", "")
        config = with_values(base, values)
        comparison, _ = compare_methods(config, [method], place, 1, assets=options.out / "assets")
        row = comparison["methods"][method]
        cells = [f"{row['accuracy'][str(ipc)]['mean']:.1f} ± {row['accuracy'][str(ipc)]['std']:.1f}" for ipc in ipcs]
        lines.append(f"| {name} | {' | '.join(cells)} | {row['redundancy']:.1f} | {row['validity']:.1f} |")
        print(lines[-1], flush=True)
        (options.out / "tuning.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
