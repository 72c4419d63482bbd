"""Compare two configurations, and make one from another."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from lgd.errors import UserError, nearest

from .checks import REMOVED_FIELDS, RENAMED_FIELDS, check, refuse_former_field, section_of, to_dict
from .fields import Config


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
        elif a != b:
            rows.append(f"{name} ({a!r} there, {b!r} here)")
    return rows


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """Replace fields by their dotted names: `with_values(config, {"guidance.omega": 0.0})`. Errors: UserError."""
    for name, value in values.items():
        refuse_former_field(name, "configuration")
        config = _replace(config, name.split("."), value)
    return check(config)


def with_per_class(config: Config, count: int) -> Config:
    """Set the number of images per class of the whole set, in equal parts over the increments. Errors: UserError."""
    increments = config.stages.increments
    if count < 1 or count % increments:
        raise UserError(
            f"{count} images per class cannot be divided into {increments} equal increments; choose a multiple of"
            f" {increments}, or another number of increments, such as 1"
        )
    return with_values(config, {"stages.images_per_increment": count // increments})


def _replace(node: Any, path: list[str], value: Any) -> Any:
    if not is_dataclass(node) or path[0] not in (names := [f.name for f in fields(node)]):
        raise UserError(f"no field {path[0]!r}" + (nearest(path[0], names) if is_dataclass(node) else ""))
    new = value if len(path) == 1 else _replace(getattr(node, path[0]), path[1:], value)
    return replace(node, **{path[0]: new})  # type: ignore[type-var]
