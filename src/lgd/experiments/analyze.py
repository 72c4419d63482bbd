"""The analysis of one or several sets on equal terms: the body of analysis.json."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lgd.analysis.collect import collect, units_of
from lgd.analysis.context import AnalysisConfig, AnalysisContext, forget
from lgd.analysis.inputs import SetSource, content_digest, expand, is_run, load_set, run_config
from lgd.analysis.validity import NETWORKS
from lgd.config import Config, differences, to_dict
from lgd.data.class_names import canonical
from lgd.data.imageset import Splits
from lgd.data.splits import cached_splits
from lgd.distillation.layout import label_of
from lgd.distillation.recipe import assets_of
from lgd.errors import UserError
from lgd.execution.hardware import resolve_device
from lgd.execution.local import Local
from lgd.progress import log
from lgd.storage.files import output_directory, read_json, write_json

from .auto import load_config
from .prepare import prepare_classifier
from .reference import classifier_unit
from .run_directory import claim


def analyze(
    paths: Sequence[Path],
    out: Path,
    test: str | None = None,
    settings: AnalysisConfig | None = None,
    workers: int = 1,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Analyse runs, compare directories and plain image folders into `out`; finished work in it is kept.

    test: preset or TOML file that names the real images of plain folders; runs know their own. Returns what is written
    to `out`/analysis.json. Errors: UserError, among others for sets made from different real images.
    """
    settings = _checked(settings or AnalysisConfig())
    forget()
    places = expand(paths)
    config = shared_config(places, test)
    splits = cached_splits(config.dataset)
    sources = [_source(path, name, splits, settings) for path, name in zip(places, unique_names(places), strict=True)]
    sets = {source: load_set(source) for source in sources}
    for source, analysed in sets.items():
        for note in analysed.notes:
            log.info(f"{source.name}: {note}")
    made_from = {
        "settings": asdict(settings),
        "config": measured_by(config),
        "sets": {source.name: content_digest(analysed) for source, analysed in sets.items()},
    }
    with output_directory(out, overwrite) as root, Local(workers, root) as engine:
        claim(root / "config.json", made_from)
        assets = assets_of(config, _assets_folder(places, root), resolve_device(config.compute.device))
        for name in ("reference", "judge"):
            if not classifier_unit(assets, name).done.exists():
                prepare_classifier(assets, name, engine)
        context = AnalysisContext(assets, config.evaluation.classifier, settings)
        units = [unit for source in (None, *sources) for unit in units_of(root, context, source)]
        engine.run(units, "analysis")
        analysis = collect(root, context, sets)
        write_json(root / "analysis.json", analysis)
    return analysis


def measured_by(config: Config) -> dict[str, Any]:
    """Return the parts of a configuration that an analysis uses, and that all its sets must share."""
    whole = to_dict(config)
    shared = {name: whole[name] for name in ("dataset", "reference", "judge")}
    return {**shared, "evaluation": {"classifier": whole["evaluation"]["classifier"]}}


def shared_config(paths: Sequence[Path], test: str | None) -> Config:
    """Return the configuration that measures all sets. Errors: UserError when runs differ in it, or none has one."""
    configs = {str(path): run_config(path) for path in paths if is_run(path)}
    plain = [path for path in paths if str(path) not in configs]
    if plain and test is None:
        raise UserError(f"{plain[0]} is no run of lgd; name its real images with --test, for example --test digits")
    given = {test: load_config(test)} if test is not None else {}
    first = next(iter({**configs, **given}.values()))
    wanted = measured_by(first)
    others = {path: measured_by(config) for path, config in configs.items()}
    others |= {path: {**wanted, "dataset": measured_by(config)["dataset"]} for path, config in given.items()}
    for path, theirs in others.items():
        changed = differences(wanted, theirs)
        if changed:
            raise UserError(f"{path} cannot be measured with the others: {'; '.join(changed)}")
    return first


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Return a short, distinct name for each path: its folder's, with as many parents as needed."""
    parts = [path.resolve().parts for path in paths]
    depth = 1
    while len({p[-depth:] for p in parts}) < len(parts):
        depth += 1
    return ["/".join(p[-depth:]) for p in parts]


def _source(path: Path, name: str, splits: Splits, settings: AnalysisConfig) -> SetSource:
    names, shape = splits.train.class_names, splits.train.shape
    path = path.resolve()
    if is_run(path):
        if canonical(read_json(path / "classes.json")) != names:
            raise UserError(f"{path / 'classes.json'}: not the classes of its dataset")
        return SetSource(name, label_of(path) or run_config(path).method, path, names, shape, 0)
    return SetSource(name, name, path, names, shape, settings.increments, settings.split_seed)


def _assets_folder(places: Sequence[Path], root: Path) -> Path:
    """Return the folder of a run's judge and reference, or the one to train them into; their seeds depend on no run."""
    known = [folder for place in places for folder in (place, place.parent)]
    found = [folder for folder in known if all((folder / f"{name}.safetensors").is_file() for name in NETWORKS)]
    return (found or [root])[0].resolve()


def _checked(settings: AnalysisConfig) -> AnalysisConfig:
    try:
        return TypeAdapter(AnalysisConfig).validate_python(asdict(settings))
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"--{first['loc'][0]}: {first['msg'].lower()}, not {first['input']!r}") from None
