"""The evaluation of any image folder, or of a run's dataset, on the test set of a preset."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from lgd.analysis.inputs import is_run
from lgd.config import Config, differences, to_dict, with_values
from lgd.data.folder import folder_files, read_folder
from lgd.errors import UserError
from lgd.evaluation.aggregate import summarise
from lgd.evaluation.cells import folder_done, folder_units
from lgd.evaluation.dd_ranking import Ranking, Scoring, score_units, scores
from lgd.evaluation.schedule import evaluators
from lgd.evaluation.soft_labels import FILE, needs_teacher, stored_soft_labels
from lgd.execution.engines import engine_for
from lgd.progress import log
from lgd.storage.files import read_json
from lgd.storage.object_store import fetched, workspace

from .auto import load_config
from .resolve import has_evaluation, resolve
from .run_directory import claim


def evaluate(
    folder: str | Path,
    test: str | None = None,
    seeds: int = 5,
    changes: Mapping[str, Any] | None = None,
    cells: str | Path | None = None,
    dd_ranking: Ranking | None = None,
) -> dict[str, Any]:
    """Measure the accuracy on real test images of `seeds` fresh classifiers trained on an image folder or a run.

    test: preset or TOML file that gives the test set and the evaluation settings; None: those of the run. changes:
    values of fields by dotted names. cells: a directory or URL that keeps finished classifiers, so that the same call
    goes on where it stopped. dd_ranking: also compute DD-Ranking's scores. Errors: UserError naming the first file or
    class that does not fit; IncompleteError with the classifiers that failed.
    """
    if seeds < 1:
        raise UserError(f"--seeds must be at least 1, not {seeds}")
    with fetched(folder) as given:
        config = with_values(settings_for(given, folder, test), changes or {})
        experiment = resolve(config, methods=(), checks=[has_evaluation])
        evaluation = experiment.evaluation(None)
        names, shape = experiment.class_names, experiment.splits.train.shape
        place = given / "dataset" if (given / "dataset" / "metadata.csv").is_file() else given
        train = read_folder(place, names, shape)
        stored = None
        if needs_teacher(evaluation.config) and evaluation.config.teacher.stored:
            stored = stored_soft_labels(place / FILE, folder_files(place, names), names)
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
        ranking = {"dd_ranking": scores(scoring, files)} if scoring else {}
    return {
        "dataset": str(folder),
        "test": test or experiment.config.name,
        "test_images": len(experiment.splits.test),
        "images": len(train),
        "protocol": {"name": evaluation.config.protocol, "epochs_factor": evaluation.config.epochs_factor},
        "accuracy": next(iter(accuracies.values())),
        "architectures": accuracies,
        **ranking,
    }


def settings_for(given: Path, folder: str | Path, test: str | None) -> Config:
    """Return the configuration that `test` names, or that of the run in `given`; log how the two differ.

    folder: the place of the run or image folder as the user wrote it. Errors: UserError without both.
    """
    own = load_config(str(given / "config.json")) if is_run(given) else None
    if test is None:
        if own is None:
            raise UserError(f"{folder}: no run of lgd; name the test set with --test, for example --test digits")
        return own
    named = load_config(test)
    if own is not None:
        there, here = ({name: to_dict(config)[name] for name in ("dataset", "evaluation")} for config in (own, named))
        if changed := differences(there, here):
            log.info(f"{test} evaluates otherwise than {folder} did: {'; '.join(changed)}")
    return named
