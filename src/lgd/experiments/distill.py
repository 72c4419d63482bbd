"""A whole run: generator -> reference -> stages -> evaluation -> figures."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from lgd.classifiers.train import accuracy, load_classifier
from lgd.config import ComputeConfig, Config, check, to_dict, with_values
from lgd.data.folder import folder_files, read_folder
from lgd.data.imageset import ImageSet, concatenate
from lgd.data.splits import cached_splits
from lgd.diffusion.folder import pin_decoder
from lgd.diffusion.train_generator import check_decoder, check_generator
from lgd.distillation.methods import check_method, with_method
from lgd.distillation.seed_check import seed_set_warning
from lgd.distillation.stages import grow
from lgd.distillation.store import Run, read_increment, read_manifest
from lgd.errors import UserError
from lgd.evaluation.aggregate import collect, summarise
from lgd.evaluation.cells import evaluation_units, evaluators, folder_done, folder_units
from lgd.evaluation.soft_labels import FILE, load_teacher, needs_teacher, store_soft_labels, stored_soft_labels
from lgd.evaluation.tables import plus_minus
from lgd.execution.engines import engine_for
from lgd.execution.hardware import check_device, resolve_device
from lgd.execution.ray import check_cluster
from lgd.execution.units import Engine
from lgd.experiments.run_directory import claim, timed
from lgd.progress import log
from lgd.report import plots
from lgd.storage.files import read_json, write_json
from lgd.storage.object_store import fetched, workspace

from .auto import load_config
from .prepare import foreign_reference, prepare, prepare_reference


def distill(config: Config | str, out: str | Path, overwrite: bool = False) -> Run:
    """Grow and judge a synthetic set in directory `out`; an interrupted run goes on where it stopped.

    `out` may be a URL that fsspec opens; what is returned then is gone from this machine, and `load` takes the URL.
    config: a configuration, or the name of a preset or TOML file. Errors: UserError, among others for a directory that
    was made with another configuration; `overwrite` empties it instead.
    """
    config = checked(config)
    config = with_method(config, config.method)
    with workspace(out, overwrite) as root, engine_for(config, root) as engine:
        run = Run(root)
        claim(run.config, to_dict(config))
        engine.warm_up()
        prepare(config, run.root, [config.method], engine)
        complete(config, run, run.root, engine)
    return run


def checked(config: Config | str) -> Config:
    """Resolve a name and find out everything that can be wrong before anything is written."""
    config = load_config(config) if isinstance(config, str) else check(config)
    check_device(config.compute.device)
    if config.compute.engine == "ray":
        check_cluster(config.compute.address)
    splits = cached_splits(config.dataset)
    check_generator(config.generator, splits.train)
    check_decoder(config, splits.train)
    check_method(config, splits.train)
    fresh = [replace(config.evaluation.classifier, architecture=name) for name in evaluators(config.evaluation)]
    for role in (config.reference, config.learner, config.influence.surrogate.classifier, *fresh):
        probe(role, splits.train)
    if config.reference.weights:
        foreign_reference(config, splits.train)
    if needs_teacher(config) and config.evaluation.teacher.weights:
        load_teacher(config, None, splits.train, "cpu")
    return config


def train_reference(config: Config | str, out: str | Path, overwrite: bool = False) -> dict[str, Any]:
    """Train the reference of a configuration into `out`/reference.safetensors, unless it is there; what it reaches.

    Errors: as `distill`.
    """
    config = checked(config)
    with workspace(out, overwrite) as root, engine_for(config, root) as engine:
        claim(root / "config.json", {name: to_dict(config)[name] for name in ("dataset", "reference")})
        splits = cached_splits(config.dataset)
        prepare_reference(config, root, engine)
        reference = load_classifier(root / "reference.safetensors", config.reference, splits.train)
        metrics = {"accuracy": accuracy(reference, splits.test), "images": len(splits.test)}
        write_json(root / "metrics.json", {**metrics, "seconds": read_json(root / "seconds.json")})
    return metrics


def probe(config: Any, train: ImageSet) -> None:
    """Build the classifier once, so that a wrong name or depth is told before an hour of work."""
    from lgd.classifiers.architectures import new_classifier
    from lgd.rng import seeded_initialisation

    ones = torch.ones(train.shape[0])
    with seeded_initialisation(0), torch.device("meta"):
        new_classifier(config, train.shape, len(train.class_names), ones, ones)


def complete(config: Config, run: Run, assets: Path, engine: Engine) -> dict[str, Any]:
    """Grow the set, judge it, write metrics.json and the figures; what is there already is kept.

    Errors: IncompleteError with the cells of the evaluation that failed, after the others.
    """
    splits = cached_splits(config.dataset)
    write_json(run.root / "classes.json", list(splits.train.class_names))
    if config.guidance.decoder:
        pin_decoder(Path(config.guidance.decoder), run.root / "decoder.json", run.root)
    with timed(run.root, "stages"):
        for path in grow(config, run, assets, engine, lambda increment: warn(config, run, assets, increment)):
            log.info(f"{path}: corrupt, not what was written; made anew")
    with timed(run.root, "evaluation"):
        judge(config, run, assets, engine)
        reference = load_classifier(assets / "reference.safetensors", config.reference, splits.train)
        metrics = collect(config, run, reference)
    seconds = {**read_json(assets / "seconds.json"), **read_json(run.root / "seconds.json")}
    metrics["seconds"] = {name: seconds[name] for name in ("generator", "reference", "stages", "evaluation")}
    write_json(run.metrics, metrics)
    plot_run(config, run, metrics)
    last = metrics["increments"][-1]
    log.info(
        f"{run.root}: {plus_minus(last['accuracy'])} % at {last['ipc']} IPC"
        f" (reference, trained on everything: {metrics['reference']['accuracy']:.1f} %)"
    )
    return metrics


def warn(config: Config, run: Run, assets: Path, increment: int) -> None:
    """Of a generator that does not show the classes: early, so that nobody waits for the rest."""
    message = seed_set_warning(config, run, assets) if increment == 1 else ""
    if message:
        log.info(message)


def judge(config: Config, run: Run, assets: Path, engine: Engine) -> None:
    """Run the cells of the evaluation that are not there yet. Errors: IncompleteError."""
    labels = run.dataset / FILE
    if needs_teacher(config) and config.evaluation.teacher.stored and not labels.exists():
        names = cached_splits(config.dataset).train.class_names
        folders = [run.increment(i + 1) for i in range(config.stages.increments)]
        images = concatenate([read_increment(folder, names) for folder in folders])
        device = resolve_device(config.compute.device)
        teacher = load_teacher(config, assets / "reference.safetensors", images, device)
        store_soft_labels(labels, teacher, images, [row.file for folder in folders for row in read_manifest(folder)])
    engine.run(evaluation_units(config, run, assets), f"{run.root.name}: evaluation")


def plot_run(config: Config, run: Run, metrics: dict[str, Any]) -> None:
    """The figures of one run."""
    names = cached_splits(config.dataset).train.class_names
    parts = [read_increment(run.increment(i + 1), names) for i in range(config.stages.increments)]
    figures = run.root / "figures"
    plots.save(plots.image_grid(parts), figures / "images")
    accuracy = {str(row["ipc"]): row["accuracy"] for row in metrics["increments"]}
    plots.save(plots.accuracy_curves({config.method: accuracy}), figures / "accuracy")
    if metrics["redundancy"]:
        matrix, mean = metrics["redundancy"]["matrix"], metrics["redundancy"]["mean_off_diagonal"]
        plots.save(plots.redundancy_maps({config.method: matrix}, {config.method: mean}), figures / "redundancy")


def evaluate(
    folder: str | Path,
    test: str,
    seeds: int = 5,
    out: Path | None = None,
    epochs_factor: float | None = None,
    compute: ComputeConfig | None = None,
    cells: str | Path | None = None,
) -> dict[str, Any]:
    """Accuracy on a preset's test set of `seeds` fresh classifiers trained on an image folder, or on a run's dataset.

    epochs_factor, compute: in place of the preset's. out: a file for the result. cells: a directory or URL that keeps
    what is finished, so that the same call goes on where it stopped. Errors: UserError naming the first file or class
    that does not fit; IncompleteError with the classifiers that failed.
    """
    if seeds < 1:
        raise UserError(f"--seeds must be at least 1, not {seeds}")
    config = load_config(test)
    if epochs_factor is not None:
        config = with_values(config, {"evaluation.epochs_factor": epochs_factor})
    config = checked(replace(config, compute=compute or config.compute))
    names, shape = cached_splits(config.dataset).train.class_names, cached_splits(config.dataset).train.shape
    with fetched(folder) as given:
        place = given / "dataset" if (given / "dataset" / "metadata.csv").is_file() else given
        train = read_folder(place, names, shape)
        stored = None
        if needs_teacher(config) and config.evaluation.teacher.stored:
            stored = stored_soft_labels(place / FILE, folder_files(place, names), names)
    with (
        TemporaryDirectory() as temporary,
        workspace(cells or temporary) as root,
        engine_for(config, root) as engine,
    ):
        made_from = {name: to_dict(config)[name] for name in ("seed", "dataset", "evaluation")}
        claim(
            root / "config.json",
            {**made_from, "images": sha256(train.pixels(torch.arange(len(train))).numpy().tobytes()).hexdigest()},
        )
        engine.run(folder_units(train, config, seeds, root, stored), "evaluation")
        accuracies = {
            name: summarise([read_json(folder_done(root, name, seed)) for seed in range(seeds)])
            for name in evaluators(config.evaluation)
        }
    result = {
        "dataset": str(folder),
        "test": test,
        "images": len(train),
        "protocol": {"name": config.evaluation.protocol, "epochs_factor": config.evaluation.epochs_factor},
        "accuracy": next(iter(accuracies.values())),
        "architectures": accuracies,
    }
    if out is not None:
        write_json(out, result)
    return result
