"""Compare two configurations, and make one from another."""

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from lgd.errors import UserError
from lgd.progress import log

from .checks import REMOVED_FIELDS, RENAMED_FIELDS, check, refuse_former_field, section_of, to_dict
from .fields import Config
from .section import replaced


def with_defaults(values: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Update the values of an earlier version, and fill its named parts with the defaults of fields that they lack."""
    return _filled(upgraded(values), {name: default for name, default in to_dict(Config()).items() if name in names})


def upgraded(values: dict[str, Any]) -> dict[str, Any]:
    """Return a copy with renamed fields under their new names, and without removed fields that were switched off."""
    values = copy.deepcopy(values)
    for old, new in RENAMED_FIELDS.items():
        section, key = section_of(values, old), old.rpartition(".")[2]
        if key in section:
            section_of(values, new)[new.rpartition(".")[2]] = section.pop(key)
    for old, (off, _) in REMOVED_FIELDS.items():
        section, key = section_of(values, old), old.rpartition(".")[2]
        if section.get(key) == off:
            del section[key]
    return values


def _filled(value: Any, default: Any) -> Any:
    if not isinstance(value, dict) or not isinstance(default, dict):
        return value
    return {**default, **{name: _filled(inner, default.get(name)) for name, inner in value.items()}}


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """List the dotted names of the fields that differ, with both values; `compute` changes no result and is skipped."""
    rows = []
    for key in sorted(old.keys() | new.keys()):
        a, b, name = old.get(key), new.get(key), prefix + key
        if name == "compute":
            continue
        if isinstance(a, dict) and isinstance(b, dict):
            rows += differences(a, b, name + ".")
        elif isinstance(a, dict) and b is None:
            rows.append(f"{name} (not used here)")
        elif a != b:
            rows.append(f"{name} ({a!r} there, {b!r} here)")
    return rows


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """Replace fields by their dotted names: `with_values(config, {"guidance.omega": 0.0})`. Errors: UserError."""
    for name, value in values.items():
        refuse_former_field(name, "configuration")
        config = replaced(config, name.split("."), value)
    return check(config)


def with_per_class(config: Config, count: int, increments: int | None = None) -> Config:
    """Set the number of images per class of the whole set, in equal parts over the increments. Errors: UserError.

    increments: None takes as many as the configuration has, or the next smaller number that divides `count`.
    `evaluation.ipc` keeps the sizes that the set passes.
    """
    for name, value in (("per_class", count), ("increments", increments)):
        if value is not None and (not isinstance(value, int) or value < 1):
            raise UserError(f"{name}: must be a whole number of at least 1, not {value!r}")
    most = increments or min(config.stages.increments, count)
    found = increments or next((n for n in range(most, 1, -1) if count % n == 0), most)
    if count % found:
        parts = [found] if increments else range(2, found + 1)
        below = max(n * (count // n) for n in parts)
        above = min(n * (count // n + 1) for n in parts)
        near = f"{below} or {above}" if below else above
        raise UserError(
            f"{count} images per class cannot be divided into {found} equal increments; choose {near} images, or"
            " another number of increments, such as 1"
        )
    if increments is None and found != config.stages.increments:
        log.info(f"{count} images per class: {found} increments of {count // found}, not {config.stages.increments}")
    ipc = tuple(ipc for ipc in config.evaluation.ipc if ipc <= count and ipc % (count // found) == 0)
    values = {"stages.increments": found, "stages.images_per_increment": count // found, "evaluation.ipc": ipc}
    return with_values(config, values)
