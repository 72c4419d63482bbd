"""The evaluation of any image folder, or of a run's dataset, on the test set of a preset."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from lgd.analysis.inputs import is_run
from lgd.config import Config, differences, to_dict, with_values
from lgd.data.arrays import write_arrays
from lgd.data.folder import folder_files
from lgd.data.imageset import ImageSet, Splits
from lgd.data.memory import check_shape, image_set, matched
from lgd.errors import UserError
from lgd.evaluation.aggregate import summarise
from lgd.evaluation.cells import folder_done, folder_units
from lgd.evaluation.dd_ranking import Ranking, Scoring, score_units, scores
from lgd.evaluation.intervals import prediction_interval
from lgd.evaluation.permutation import agreed, described
from lgd.evaluation.released import read_released
from lgd.evaluation.schedule import evaluators
from lgd.evaluation.soft_labels import FILE, needs_teacher, stored_soft_labels
from lgd.execution.engines import engine_for
from lgd.export.record import Stated, same_evaluation, stated_in
from lgd.progress import log
from lgd.storage.files import read_json
from lgd.storage.object_store import fetched, workspace

from .auto import as_source, is_source, load_config
from .resolve import has_evaluation, resolve
from .run_directory import claim


def evaluate(
    images: Any,
    test: Any = None,
    seeds: int = 5,
    changes: Mapping[str, Any] | None = None,
    cells: str | Path | None = None,
    dd_ranking: Ranking | None = None,
) -> dict[str, Any]:
    """Measure the accuracy on test images of `seeds` fresh classifiers trained on a set, in percent.

    images: an image folder, a run, or images in memory: an `lgd.ImageSet`, a torch Dataset, or (images, labels). test:
    a preset, TOML file or source that gives the test images and the evaluation settings, or images in memory; None:
    those of the run. changes: values of fields by dotted names. cells: a directory or URL that keeps finished
    classifiers, so that the same call goes on where it stopped. dd_ranking: also compute DD-Ranking's scores. Errors:
    UserError naming the first file or class that does not fit; IncompleteError with the classifiers that failed.
    """
    if seeds < 1:
        raise UserError(f"--seeds must be at least 1, not {seeds}")
    in_folder, in_memory = isinstance(images, str | Path), not isinstance(test, str | Path | None)
    if in_folder and "://" not in str(images) and not Path(images).exists():
        raise UserError(f"{images}: no such directory")
    with fetched(images) if in_folder else nullcontext(images) as given:
        named = test
        if in_memory:  # both are written as the test images are
            real = image_set(test)
            named = write_arrays(read_set(given, Splits(real, real, real.class_names), False)[0], real)
        stated = stated_in(given) if isinstance(given, Path) else None
        config = with_values(settings_for(given, images, named, stated), changes or {})
        experiment = resolve(config, methods=(), checks=[has_evaluation])
        evaluation, splits = experiment.evaluation(None), experiment.splits
        labelled = in_folder and needs_teacher(evaluation.config) and evaluation.config.teacher.stored
        train, stored = (splits.train, None) if in_memory else read_set(given, splits, labelled)
    with (
        TemporaryDirectory() as temporary,
        workspace(cells or temporary) as root,
        engine_for(experiment.config.compute, root) as engine,
    ):
        digest = sha256(train.pixels(torch.arange(len(train))).numpy().tobytes()).hexdigest()
        claim(root / "config.json", {**experiment.record("seed", "dataset", "evaluation"), "images": digest})
        units = folder_units(evaluation, train, seeds, root, stored)
        scoring = Scoring(evaluation, train, stored, seeds, root, dd_ranking.real_accuracy) if dd_ranking else None
        engine.run([*units, *(score_units(scoring) if scoring else [])], "evaluation")
        files = {
            name: [folder_done(root, name, seed) for seed in range(seeds)] for name in evaluators(evaluation.config)
        }
        accuracies = {name: summarise([read_json(file) for file in own]) for name, own in files.items()}
        permuted = agreed([read_json(file).get("permutation") for own in files.values() for file in own])
        ranking = {"dd_ranking": scores(scoring, files)} if scoring else {}
    first = next(iter(accuracies.values()))
    if permuted is not None:
        log.warning(described(permuted, splits.test.class_names, splits.class_order, first["mean"]))
    return {
        "dataset": str(images),
        "test": str(named or experiment.config.dataset.source),
        "test_images": len(experiment.splits.test),
        "images": len(train),
        "protocol": {"name": evaluation.config.protocol, "epochs_factor": evaluation.config.epochs_factor},
        "accuracy": first,
        "architectures": accuracies,
        "permutation": permuted and asdict(permuted),
        "stated": compared(stated, accuracies, seeds) if stated and same_evaluation(stated, config) else None,
        **ranking,
    }


def compared(
    stated: Stated, accuracies: Mapping[str, Mapping[str, Any]], count: int
) -> dict[str, dict[str, float | bool | None]]:
    """Compare accuracies by architecture with those of the card: its mean, the interval of `count` new classifiers."""
    found: dict[str, dict[str, float | bool | None]] = {}
    for name in stated.accuracy.keys() & accuracies.keys():
        interval = prediction_interval(stated.accuracy[name], count)
        low, high = interval or (None, None)
        within = None if interval is None else interval[0] <= accuracies[name]["mean"] <= interval[1]
        found[name] = {"mean": fmean(stated.accuracy[name]), "low": low, "high": high, "within": within}
    return found


def read_set(images: Any, real: Splits, labelled: bool) -> tuple[ImageSet, Tensor | None]:
    """Return an image folder, the dataset of a run, or images in memory, over the classes of real images.

    labelled: also read the logits that are stored beside the images of a folder. Errors: UserError, also for images
    of another shape than the real ones.
    """
    names, order = real.test.class_names, real.class_order
    if not isinstance(images, Path):
        train = matched(image_set(images), names, order)
        check_shape(train, real.test.shape)
        return train, None
    place = images / "dataset" if (images / "dataset" / "metadata.csv").is_file() else images
    train = read_released(place, real)
    return train, stored_soft_labels(place / FILE, folder_files(place, names), names) if labelled else None


def settings_for(given: Any, images: Any, test: str | Path | None, stated: Stated | None) -> Config:
    """Return the configuration that `test` names, or that of the run in `given`; log how the two differ.

    given: the folder of the run or images, or images in memory. images: as the user gave them. stated: by the card of
    an export, whose settings serve where `test` is a source of images or its own is public. Errors: UserError without
    all of them.
    """
    if stated is not None and (test is None or is_source(as_source(str(test)))):
        source = stated.config.dataset.source if test is None else as_source(str(test))
        if not source:
            raise UserError(f"{images}: name the real images of the card with --test, for example parquet:TRAIN,TEST")
        return with_values(stated.config, {"dataset.source": source})
    own = load_config(str(given / "config.json")) if isinstance(given, Path) and is_run(given) else None
    if test is None:
        if own is None:
            what = images if isinstance(images, str | Path) else "images in memory"
            raise UserError(f"{what}: no run of lgd; name the test set with --test, for example --test digits")
        return own
    named = load_config(str(test))
    if own is not None:
        there, here = ({name: to_dict(config)[name] for name in ("dataset", "evaluation")} for config in (own, named))
        if changed := differences(there, here):
            log.info(f"{test} evaluates otherwise than {images} did: {'; '.join(changed)}")
    return named
