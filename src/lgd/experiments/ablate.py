"""A sweep over fields of the configuration; each combination of values is a comparison of its own."""

import json
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any

from lgd.config import Config, to_dict, with_values
from lgd.distillation.layout import record_combinations
from lgd.distillation.methods import may_be_open, method_named
from lgd.errors import Failure, IncompleteError, UserError
from lgd.evaluation.tables import Table, explained, number, spread, write_tables
from lgd.progress import log
from lgd.storage.files import write_json
from lgd.storage.object_store import workspace

from .auto import load_config
from .auto_method import settled
from .compare import compare_methods
from .prepare import MADE_FROM
from .resolve import resolve


def ablate(
    config: Config | str,
    over: Sequence[str],
    out: str | Path,
    runs: int = 3,
    overwrite: bool = False,
) -> tuple[dict[str, Any], str]:
    """Evaluate the configuration's method with every combination of the values in `over`; returns results and a table.

    over: such as `guidance.omega=0,0.5,1`. A combination lives in a directory named after its whole configuration, so
    another sweep into the same `out` reuses it, and the generator, reference and judge are shared where they are the
    same. Errors: UserError for an unknown field, or a value that does not fit, before anything is made;
    IncompleteError when all failed.
    """
    if runs < 1:
        raise UserError(f"--runs must be at least 1, not {runs}")
    base = settled(replace(load_config(config) if isinstance(config, str) else config, minutes=0.0))
    axes = dict(parse_axis(text) for text in over)
    if not axes or len(axes) < len(over):
        raise UserError("--over needs at least one FIELD=VALUE,..., and no field twice")
    if fixed := {field for field in axes.keys() & method_named(base.method).fields.keys() if not may_be_open(field)}:
        raise UserError(f"--over {min(fixed)}: method {base.method!r} sets this field; choose another --method")
    combinations = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    configs = [with_values(base, values) for values in combinations]
    for single in configs:
        resolve(single)
    cells: list[dict[str, Any]] = []
    failures: list[dict[str, str]] = []
    with workspace(out, overwrite) as root:
        write_json(root / "config.json", to_dict(base))
        wholes = [to_dict(replace(single, name="", compute=Config().compute)) for single in configs]
        labels = [", ".join(f"{name}={show(value)}" for name, value in values.items()) for values in combinations]
        record_combinations(root, dict(zip(map(digest, wholes), labels, strict=True)))
        for values, single, whole, label in zip(combinations, configs, wholes, labels, strict=True):
            log.info(label)
            folder = root / "cells" / digest(whole)
            assets = root / "assets" / digest({name: whole[name] for name in MADE_FROM})
            try:
                comparison, _ = compare_methods(single, [single.method], folder, runs, assets=assets)
            except IncompleteError as error:
                failures += [{"name": f"{folder.name}/{f.name}", "reason": f.reason} for f in error.failures]
                continue
            failures += [{**f, "name": f"{folder.name}/{f['name']}"} for f in comparison["failures"]]
            cells.append({"values": values, "folder": f"cells/{folder.name}", **comparison["methods"][single.method]})
        if not cells:
            raise IncompleteError([Failure(**failure) for failure in failures])
        result = {"over": axes, "cells": cells, "failures": failures}
        made = ablation_table(list(axes), cells)
        write_json(root / "ablation.json", result)
        write_tables(root, [made])
    return result, explained(made)


def parse_axis(text: str) -> tuple[str, list[Any]]:
    """Parse `field=a,b` into the field and its values, JSON or else text. Errors: UserError."""
    name, equals, values = text.partition("=")
    if not equals or not name or not values:
        raise UserError(f"--over {text!r}: write FIELD=VALUE,VALUE, such as guidance.omega=0,0.5,1")
    try:
        parsed = json.loads(f"[{values}]")  # also lists, such as guidance.window=[10,45],[0,30]
    except ValueError:
        parsed = [literal(value) for value in values.split(",")]
    if len({json.dumps(value) for value in parsed}) < len(parsed):
        raise UserError(f"--over {text!r}: a value comes twice")
    return name, parsed


def literal(text: str) -> Any:
    """Parse a number or truth value; any other text is returned as it is."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def show(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def digest(values: dict[str, Any]) -> str:
    return sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def ablation_table(fields: Sequence[str], cells: Sequence[dict[str, Any]]) -> Table:
    """Make a table with a row per combination: the swept fields, accuracy by IPC, redundancy, chance, validity."""
    ipcs = sorted({ipc for cell in cells for ipc in cell["accuracy"]}, key=int)
    rows, records = [], []
    for cell in cells:
        values = [show(cell["values"][name]) for name in fields]
        own = dict(zip(fields, values, strict=True))
        found = [cell["accuracy"].get(ipc) for ipc in ipcs]
        shares = {key: cell[key] for key in ("redundancy", "chance", "validity", "reference_validity")}
        rows.append([*values, *map(spread, found), *map(number, shares.values())])
        for ipc, one in zip(ipcs, found, strict=True):
            numbers = {key: one[key] if one else None for key in ("mean", "std", "n")}
            best = one["best"]["mean"] if one else None
            records.append({**own, "ipc": ipc, **numbers, "best": best, **shares})
    header = [*fields, *(f"{ipc} IPC" for ipc in ipcs), "redundancy", "chance", "validity", "by reference"]
    caption = "Test accuracy after the last epoch, %, mean ± std (n) over runs, of one run over its classifiers."
    return Table("ablation", caption, header, rows, records, words=len(fields))
