"""Read a configuration from a preset, a file or plain data, check it, and turn it back; errors are one line."""

import json
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields, is_dataclass
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lgd.errors import UserError, nearest
from lgd.storage.files import read_limited

from .fields import Config

LARGEST_TOML = 2**20  # bytes
RENAMED_FIELDS = {"dataset.judge_on": "dataset.eval_split"}
"""new name of each renamed field"""
REMOVED_FIELDS = {
    "stages.halving": (0, "comparing a slot's candidates early kept the best of them no more often than chance"),
}
"""value that switched each removed field off, and why it was removed"""


def presets() -> dict[str, Path]:
    return {path.stem: path for path in sorted(Path(__file__).with_name("presets").glob("*.toml"))}


def load_config(name_or_path: str) -> Config:
    """Read a preset by its name, or a TOML file or a run's config.json by its path. Errors: UserError."""
    if name_or_path in presets():
        path = presets()[name_or_path]
    elif name_or_path.endswith((".toml", ".json")) or Path(name_or_path).is_file():
        path = Path(name_or_path)
    elif Path(name_or_path).name != name_or_path:
        raise UserError(f"{name_or_path}: no such folder or file")
    else:
        raise UserError(f"unknown preset {name_or_path!r}{nearest(name_or_path, presets())}; or give a .toml file")
    text = read_limited(path, LARGEST_TOML)
    try:
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also of numbers with too many digits
        raise UserError(f"{path}: not {'JSON' if path.suffix == '.json' else 'TOML'}: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: not a configuration")
    return from_dict({"name": path.stem, **values}, str(path))


def from_dict(values: Any, where: str) -> Config:
    """Build and check a configuration. Errors: UserError naming `where` and the first wrong field."""
    for name in (*RENAMED_FIELDS, *REMOVED_FIELDS):
        if name.rpartition(".")[2] in section_of(values, name):
            refuse_former_field(name, where)
    try:
        # Through JSON: strict about types, yet a list may fill a tuple and an integer a float.
        config = validator().validate_json(json.dumps(values), strict=True, extra="forbid")
    except ValidationError as error:
        raise UserError(f"{where}: {_explain(error.errors())}") from None
    except (TypeError, ValueError, RecursionError) as error:  # a TOML date, say
        raise UserError(f"{where}: {error}") from None
    for problem in problems(config):
        raise UserError(f"{where}: {problem}")
    return config


@cache
def validator() -> TypeAdapter[Config]:
    """Return pydantic's validator of configurations, which takes 25 ms to build."""
    return TypeAdapter(Config)


def to_dict(part: Any) -> dict[str, Any]:
    """Return a configuration, or a part of it, as plain data for JSON."""
    return json.loads(json.dumps(asdict(part)))  # tuples become lists, as when read back


def check(config: Config, where: str = "configuration") -> Config:
    """Validate a configuration that was built in Python or by flags. Errors: UserError."""
    return from_dict(to_dict(config), where)


def refuse_former_field(name: str, where: str) -> None:
    """Refuse the dotted name of a renamed or removed field. Errors: UserError with the new name or the reason."""
    if name in RENAMED_FIELDS:
        raise UserError(f"{where}: {name} was renamed; use {RENAMED_FIELDS[name]}")
    if name in REMOVED_FIELDS:
        raise UserError(f"{where}: {name} was removed: {REMOVED_FIELDS[name][1]}; leave it out")


def section_of(values: Any, name: str) -> dict[str, Any]:
    """Return the table of nested plain data that holds the field of a dotted name; empty where there is none."""
    for part in name.split(".")[:-1]:
        values = values.get(part) if isinstance(values, dict) else None
    return values if isinstance(values, dict) else {}


def _explain(errors: Any) -> str:
    """Return one line about the first wrong field, with the nearest known name for a misspelt one.

    errors: of pydantic, which has one for each type that the field may have.
    """
    error, path = errors[0], field_path(errors[0]["loc"])
    if error["type"] == "unexpected_keyword_argument":
        node: Any = Config()
        for part in path[:-1]:
            node = getattr(node, part)
        return f"unknown field {'.'.join(path)!r}{nearest(path[-1], [f.name for f in fields(node)])}"
    told = [one["msg"].lower() for one in errors if field_path(one["loc"]) == path]
    told[1:] = [message.removeprefix("input should be ") for message in told[1:]]
    return f"{'.'.join(path) or 'the top level'}: {' or '.join(told)}, not {error['input']!r:.100}"


def field_path(location: Sequence[str | int]) -> list[str]:
    """Return the names and indices on the way to a wrong value, without those of the types that a field may have."""
    node: Any = Config()
    path = []
    for part in location:
        if is_dataclass(node) or isinstance(part, int):
            path.append(str(part))
            node = getattr(node, str(part), None)
    return path


def problems(config: Config) -> Iterator[str]:
    """Yield what contradicts the rules that involve several fields, each with the field's name."""
    sampling, guidance, stages, own = config.sampling, config.guidance, config.stages, config.generator
    last = sampling.steps - 1
    for part, window in (("guidance", guidance.window), ("influence", config.influence.window)):
        if window is not None and not window[0] <= window[1] <= last:
            yield f"{part}.window: {list(window)} does not lie inside the steps 0 to {last}"
    anchored = {stages.anchor, stages.seed_anchor} - {"none", "same"}
    if anchored and stages.anchor_step is not None and stages.anchor_step > last:
        yield f"stages.anchor_step: {stages.anchor_step} does not lie inside the steps 0 to {last}"
    if sampling.steps > own.train_timesteps:
        yield f"sampling.steps: {sampling.steps} is more than generator.train_timesteps ({own.train_timesteps})"
    if guidance.space == "sample" and sampling.scheduler != "ddpm":
        told = "guidance.space: 'sample' works with sampling.scheduler 'ddpm' only"
        yield f"{told}, not {sampling.scheduler!r}; use 'noise'"
    if guidance.space == "sample" and guidance.strength == "auto":
        yield "guidance.strength: 'auto' works with guidance.space 'noise' only; give a number"
    for role in ("reference", "judge", "learner"):
        if getattr(config, role).training.temperature:
            yield f"{role}.training.temperature: only the evaluation learns from a teacher"
    if config.judge.architecture == config.reference.architecture:
        told = f"judge.architecture: {config.judge.architecture!r} is the reference's, too"
        yield f"{told}; the judge must be another network"
    surrogate = config.influence.surrogate.classifier
    trained = surrogate.training.epochs
    for epoch in config.influence.surrogate.epochs:
        if epoch > trained:
            yield f"influence.surrogate.epochs: {epoch} is beyond the {trained} that it is trained"
    if config.influence.halves == "both" and (sampling.scheduler != "ddpm" or sampling.classifier_free_scale == 1):
        needs = "sampling.scheduler 'ddpm' and a sampling.classifier_free_scale other than 1"
        yield f"influence.halves: 'both' needs {needs}"
    if surrogate.norm == "batch":
        yield "influence.surrogate.classifier.norm: checkpoints hold no statistics; use 'instance'"
    for role in ("reference", "judge", "learner", "evaluation.classifier"):
        network = attrgetter(role)(config)
        if network.norm == "batch" and network.training.shards > 1:
            yield f"{role}.training.shards: batch norm needs whole batches; use 1"
    if stages.coverage != "none" and stages.candidates < 2:
        told = f"stages.coverage: {stages.coverage!r} chooses among surplus candidates"
        yield f"{told}; stages.candidates (of a seed set: stages.seed_candidates) must be at least 2"
    steps = [stages.images_per_increment * (i + 1) for i in range(stages.increments)]
    for ipc in config.evaluation.ipc:
        if ipc not in steps:
            yield f"evaluation.ipc: {ipc} is none of the increments' {', '.join(map(str, steps))}"
    if own.tune != "none" and not own.source:
        yield f"generator.tune: {own.tune!r} needs a generator.source to start from"
    if own.source and own.autoencoder:
        yield "generator.autoencoder: a generator.source brings its own"
    if own.snr_offset and not own.min_snr:
        yield f"generator.snr_offset: {own.snr_offset:g} needs a generator.min_snr"
    if own.prediction == "flow_prediction" and own.train_timesteps != 1000:
        yield f"generator.train_timesteps: a flow has 1000, not {own.train_timesteps}"
    if own.beta_start > own.beta_end or own.beta_end >= 1:
        yield "generator.beta_start and beta_end must rise and stay below 1"
