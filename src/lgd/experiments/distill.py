"""A whole run: assets, then stages, then evaluation, then figures."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from logging import INFO, WARNING
from pathlib import Path
from typing import Any

import torch

from lgd.analysis.neighbours import copies
from lgd.config import Config
from lgd.diffusion.folder import pin_decoder
from lgd.distillation.judge import accuracies_on_test, load_judge, load_reference
from lgd.distillation.layout import Run
from lgd.distillation.methods import methods_used
from lgd.distillation.methods.sampling import import_libraries
from lgd.distillation.recipe import Assets, Growth
from lgd.distillation.seed_check import seed_set_verdict
from lgd.distillation.stages import grow
from lgd.distillation.store import read_increment, read_manifest, read_union
from lgd.errors import UserError
from lgd.evaluation.aggregate import collect
from lgd.evaluation.cells import Evaluation, evaluation_units
from lgd.evaluation.soft_labels import FILE, load_teacher, store_soft_labels
from lgd.evaluation.tables import plus_minus
from lgd.execution.engines import engine_for
from lgd.execution.units import Engine
from lgd.progress import log
from lgd.report import plots
from lgd.storage.files import read_json, write_json
from lgd.storage.object_store import workspace

from .auto_method import choose_synthetic
from .budget import Budget
from .prepare import prepare, record_parts
from .resolve import Experiment, resolve
from .run_directory import claim, timed


def distill(config: Config | str, out: str | Path, overwrite: bool = False) -> Run:
    """Grow and evaluate a synthetic set in directory `out`; an interrupted run goes on where it stopped.

    config: a configuration, or the name of a preset or TOML file. out: may be a URL that fsspec opens; the returned
    directory is then gone from this machine, and `load` takes the URL. Errors: UserError, among others for a directory
    that was made with another configuration; `overwrite` empties it instead.
    """
    base = resolve(config)
    with workspace(out, overwrite) as root, engine_for(base.config.compute, root) as engine:
        budget, run = Budget(base, root), Run(root)

        def assets() -> Assets:
            """Make what the method, as it is known now, needs."""
            now = budget.run()
            prepare(now.assets(root), methods_used(now.config), engine, settle=budget.settling(root))
            return budget.run().assets(root)

        if base.config.method == "auto":
            budget.decide(choose_synthetic(budget.experiment.config, assets(), base.splits))
        claim(run.config, budget.run().record())
        record_parts(run, budget.run().assets(root), methods_used(budget.run().config))
        if any(method.needs_generator for method in methods_used(budget.run().config)):
            engine.warm_up(import_libraries)
        assets()
        experiment = budget.settle("stages")
        complete(experiment, run, experiment.assets(root), engine, lambda: budget.settle("evaluation"))
    return run


def complete(
    experiment: Experiment,
    run: Run,
    assets: Assets,
    engine: Engine,
    settle: Callable[[], Experiment] | None = None,
) -> dict[str, Any]:
    """Grow the set, evaluate it, write metrics.json and the figures; finished parts are kept.

    settle: returns the experiment with final numbers of the evaluation, once the set is there. Errors:
    IncompleteError with the cells of the evaluation that failed, after the others.
    """
    growth = experiment.growth(run, assets)
    write_json(run.root / "classes.json", list(growth.class_order))
    if decoder := experiment.config.guidance.decoder:
        pin_decoder(Path(decoder), run.root / "decoder.json", run.root)

    def tell(increment: int) -> None:  # before anybody waits for the rest
        if increment == 1 and (message := seed_set_verdict(growth)):
            log.log(WARNING if message.startswith("warning") else INFO, message)

    with timed(run.root, "stages"):
        for path in grow(growth, engine, tell):
            log.info(f"{path}: corrupt, not what was written; made again")
    experiment = settle() if settle else experiment
    config, evaluation = experiment.config, experiment.evaluation(assets)
    made = run.last_increment(config.stages.increments)
    evaluation = replace(evaluation, stages=replace(evaluation.stages, increments=made))
    with timed(run.root, "evaluation"):
        evaluate_run(evaluation, run, growth.class_names, engine)
        judge, reference = load_judge(assets), load_reference(assets)
        measured = {**collect(evaluation, run, judge, reference), "copies": copies_in(run, growth)}
        on_test = accuracies_on_test(assets)
    seconds = {**read_json(assets.root / "seconds.json"), **read_json(run.root / "seconds.json")}
    metrics = {
        "method": config.method,
        "seed": config.seed,
        "dataset": config.dataset.source,
        "protocol": {"name": config.evaluation.protocol, "epochs_factor": config.evaluation.epochs_factor},
        "reference": {"accuracy": on_test["reference"]},
        "judge": {"architecture": config.judge.architecture, "accuracy": on_test["judge"]},
        **measured,
        "calibration": run.read_calibration(made),
        "seconds": {name: seconds[name] for name in ("generator", "reference", "judge", "stages", "evaluation")},
    }
    before = measured_in(run)
    write_json(run.metrics, metrics)
    if before != measured_in(run) or not has_figures(run, metrics):
        plot_run(config.method, run, growth, metrics)
    last = metrics["increments"][-1]
    log.info(
        f"{run.root}: {plus_minus(last['accuracy'])} % at {last['ipc']} IPC"
        f" (reference, trained on everything: {metrics['reference']['accuracy']:.1f} %)"
    )
    return metrics


def copies_in(run: Run, growth: Growth) -> dict[str, float | None]:
    """Return the percent of a run's images that copy real images, as `copies` measures them."""
    folders = run.increments(run.last_increment(growth.later.stages.increments))
    kept = [row.candidates[row.chosen] for folder in folders for row in read_manifest(folder)]
    anchors = [-1 if one.seed is None or one.real is None else one.real for one in kept]
    return copies(growth.assets, read_union(folders, growth.class_names), torch.tensor(anchors))


def evaluate_run(evaluation: Evaluation, run: Run, class_names: tuple[str, ...], engine: Engine) -> None:
    """Run the cells of the evaluation that are missing. Errors: IncompleteError."""
    labels = run.dataset / FILE
    if evaluation.teacher and evaluation.config.teacher.stored and not labels.exists():
        folders = run.increments(evaluation.stages.increments)
        images = read_union(folders, class_names)
        teacher = load_teacher(evaluation.teacher, images, evaluation.device)
        store_soft_labels(labels, teacher, images, [row.file for folder in folders for row in read_manifest(folder)])
    engine.run(evaluation_units(evaluation, run), f"{run.root.name}: evaluation")


def measured_in(run: Run) -> dict[str, Any]:
    """Return what a run's metrics.json holds besides the seconds; nothing of a missing or corrupt one."""
    with suppress(UserError):
        if isinstance(found := read_json(run.metrics), dict):
            return {**found, "seconds": None}
    return {}


def has_figures(run: Run, metrics: dict[str, Any]) -> bool:
    """Return whether the figures that `plot_run` makes of such metrics are there."""
    names = ("images", "accuracy", *(["redundancy"] if metrics["redundancy"] else []))
    return all((run.root / "figures" / f"{name}.{kind}").exists() for name in names for kind in plots.KINDS)


def plot_run(method: str, run: Run, growth: Growth, metrics: dict[str, Any]) -> None:
    folders = run.increments(run.last_increment(growth.later.stages.increments))
    parts = [read_increment(folder, growth.class_names) for folder in folders]
    figures = run.root / "figures"
    plots.save(plots.image_grid(parts), figures / "images")
    by_ipc = {str(row["ipc"]): row["accuracy"] for row in metrics["increments"]}
    plots.save(plots.accuracy_curves({method: by_ipc}), figures / "accuracy")
    if metrics["redundancy"]:
        found = metrics["redundancy"]
        maps = plots.redundancy_maps({method: found["matrix"]}, {method: found["mean_off_diagonal"]}, found["chance"])
        plots.save(maps, figures / "redundancy")
