"""A comparison of methods on one generator, one reference, one judge and the same seeds."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lgd.config import Config
from lgd.distillation.layout import Run
from lgd.distillation.methods import methods_used
from lgd.distillation.methods.sampling import import_libraries
from lgd.errors import Failure, IncompleteError, UserError
from lgd.evaluation.aggregate import compare
from lgd.evaluation.comparison_tables import overview, tables
from lgd.evaluation.tables import captioned, explained, write_tables
from lgd.execution.engines import engine_for
from lgd.execution.units import LOG, attempt
from lgd.experiments.run_directory import claim
from lgd.report import plots
from lgd.storage.files import write_json, write_text
from lgd.storage.object_store import workspace

from .budget import Budget
from .distill import complete
from .prepare import prepare, record_parts
from .resolve import resolve


def compare_methods(
    config: Config | str,
    methods: Sequence[str],
    out: str | Path,
    runs: int = 3,
    overwrite: bool = False,
    assets: Path | None = None,
) -> tuple[dict[str, Any], str]:
    """Run every method with `runs` seeds on the same assets; returns the comparison and its table.

    Sub-runs live in `out`/METHOD-seedN and are kept when the command is repeated, also with more methods or runs.
    assets: a directory to share the assets with other comparisons; by default `out`.
    Sub-runs that fail are left out and listed under `failures`. Errors: UserError; IncompleteError when all failed.
    """
    if runs < 1:
        raise UserError(f"--runs must be at least 1, not {runs}")
    if len(set(methods)) < len(methods) or not methods:
        raise UserError("--methods needs at least one method, and none twice")
    base = resolve(config, methods)
    compute = base.config.compute
    with workspace(out, overwrite) as root, engine_for(compute, root) as engine:
        budget = Budget(base, root, methods, runs)
        base = budget.experiment
        claim(root / "config.json", {**base.record(), "method": "lgd"})
        used = [method for name in methods for method in methods_used(base.with_method(name, 0).config)]
        if any(method.needs_generator for method in used):
            engine.warm_up(import_libraries)
        folder = assets or root
        prepare(base.assets(folder), used, engine, settle=budget.settling(folder))
        budget.settle("stages")
        budget.settle("evaluation")  # now, for the same numbers in all runs
        base = budget.experiment
        shared = base.assets(folder)
        metrics: dict[str, list[dict[str, Any]]] = {name: [] for name in methods}
        failures: list[Failure] = []
        for seed in range(base.config.seed, base.config.seed + runs):
            for name in methods:
                single, run = base.with_method(name, seed), Run(root / f"{name}-seed{seed}")
                run.root.mkdir(exist_ok=True)
                claim(run.config, single.record())
                record_parts(run, shared, methods_used(single.config))
                made = attempt(complete, (single, run, shared, engine), run.root.name, failures, root / LOG)
                if made is not None:
                    metrics[name].append(made)
        finished = {name: done for name, done in metrics.items() if done}
        if not finished:
            raise IncompleteError(failures)
        comparison = {**compare(finished), "failures": [asdict(failure) for failure in failures]}
        plot_comparison(root, comparison)
        for method in comparison["methods"].values():
            del method["matrix"], method["confusion"]
        write_json(root / "comparison.json", comparison)
        write_text(root / "comparison.md", "\n".join(map(captioned, tables(comparison))))
        write_tables(root / "tables", tables(comparison))
    return comparison, explained(overview(comparison))


def plot_comparison(root: Path, comparison: dict[str, Any]) -> None:
    """Write the figures: redundancy as heat maps side by side, and accuracy against IPC."""
    methods = comparison["methods"]
    matrices = {name: m["matrix"] for name, m in methods.items() if m["matrix"]}
    if matrices:
        means = {name: methods[name]["redundancy"] for name in matrices}
        chance = methods[next(iter(matrices))]["chance"]
        plots.save(plots.redundancy_maps(matrices, means, chance), root / "figures" / "redundancy")
    accuracy = {name: m["accuracy"] for name, m in methods.items()}
    plots.save(plots.accuracy_curves(accuracy), root / "figures" / "accuracy")
