"""One or several sets analysed on equal terms: the body of analysis.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lgd.analysis.collect import collect
from lgd.analysis.inputs import Source, content_digest, expand, is_run, load_set, run_config
from lgd.analysis.study import Settings, Study, ensure_reference, units_of, units_of_real
from lgd.config import Config, differences, to_dict
from lgd.data.imageset import Splits
from lgd.data.splits import cached_splits
from lgd.errors import UserError
from lgd.execution.local import Local
from lgd.progress import log, progress_bar
from lgd.storage.files import output_directory, read_json, write_json

from .auto import load_config


def analyze(
    paths: Sequence[Path],
    out: Path,
    test: str | None = None,
    settings: Settings | None = None,
    workers: int = 1,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Analyse runs, compare directories and plain image folders into `out`; finished work in it is kept.

    test: preset or TOML file that names the real images of plain folders; runs know their own. Returns what is written
    to `out`/analysis.json. Errors: UserError, among others for sets made from different real images.
    """
    settings = _checked(settings or Settings())
    places = expand(paths)
    config = shared_config(places, test)
    splits = cached_splits(config.dataset)
    sources = [_source(path, name, splits, settings) for path, name in zip(places, unique_names(places), strict=True)]
    sets = {source: load_set(source) for source in sources}
    for source, studied in sets.items():
        for note in studied.notes:
            log.info(f"{source.name}: {note}")
    with output_directory(out, overwrite) as root, Local(workers, root) as engine:
        study = Study(root, config, settings, _reference_path(places, root))
        made_from = {
            "settings": asdict(settings),
            "config": {name: to_dict(config)[name] for name in ("dataset", "reference", "evaluation")},
            "sets": {source.name: content_digest(studied) for source, studied in sets.items()},
        }
        _claim(root, made_from)
        with progress_bar(1, "reference") as advance:
            ensure_reference(study)
            advance()
        units = units_of_real(study)
        for source, studied in sets.items():
            units += units_of(study, source, len(studied.parts))
        engine.run(units, "analysis")
        analysis = collect(study, sets)
        write_json(root / "analysis.json", analysis)
    return analysis


def shared_config(paths: Sequence[Path], test: str | None) -> Config:
    """The dataset, reference and evaluation that all sets are measured by.

    Errors: UserError when two runs differ in them, or a plain folder comes without `test`.
    """
    configs = {path: run_config(path) for path in paths if is_run(path)}
    plain = [path for path in paths if path not in configs]
    if plain and test is None:
        raise UserError(f"{plain[0]} is no run of lgd; name its real images with --test, for example --test digits")
    given = load_config(test) if test is not None else None
    first = next(iter(configs.values()), given)
    assert first is not None
    everything: tuple[str, ...] = ("dataset", "reference", "evaluation")
    others = [(path, config, everything) for path, config in configs.items()]
    if given is not None:
        others.append((Path(str(test)), given, ("dataset",)))
    for path, other, shared in others:
        changed = [
            line for part in shared for line in differences(to_dict(first)[part], to_dict(other)[part], f"{part}.")
        ]
        if changed:
            raise UserError(f"{path} cannot be measured with the others: {'; '.join(changed)}")
    return first


def unique_names(paths: Sequence[Path]) -> list[str]:
    """A short name for each: its folder's, with as many parents as it takes to tell them apart."""
    parts = [path.resolve().parts for path in paths]
    depth = 1
    while len({p[-depth:] for p in parts}) < len(parts):
        depth += 1
    return ["/".join(p[-depth:]) for p in parts]


def _source(path: Path, name: str, splits: Splits, settings: Settings) -> Source:
    names, shape = splits.train.class_names, splits.train.shape
    path = path.resolve()
    if is_run(path):
        if tuple(read_json(path / "classes.json")) != names:
            raise UserError(f"{path / 'classes.json'}: not the classes of its dataset")
        return Source(name, run_config(path).method, path, names, shape, 0)
    return Source(name, name, path, names, shape, settings.increments, settings.split_seed)


def _reference_path(places: Sequence[Path], root: Path) -> Path:
    """A reference that one of the runs left, or where to train one."""
    known = [folder / "reference.safetensors" for place in places for folder in (place, place.parent)]
    return next((path.resolve() for path in known if path.is_file()), root.resolve() / "reference.safetensors")


def _checked(settings: Settings) -> Settings:
    try:
        return TypeAdapter(Settings).validate_python(asdict(settings))
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"--{first['loc'][0]}: {first['msg'].lower()}, not {first['input']!r}") from None


def _claim(root: Path, made_from: dict[str, Any]) -> None:
    path = root / "config.json"
    if path.exists():
        changed = differences(read_json(path), made_from)
        if changed:
            raise UserError(
                f"{root} holds an analysis of something else: {'; '.join(changed)[:400]}."
                " Choose another --out, or --overwrite to start anew"
            )
    write_json(path, made_from)
