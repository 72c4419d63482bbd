"""The tables of a comparison of methods (the paper's Tables 1 and 3 among them)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .aggregate import lower_than_baseline
from .tables import Table, number, spread


def all_ipcs(comparison: Mapping[str, Any]) -> list[str]:
    """Return every number of images per class (IPC) at which a method was evaluated, ascending."""
    return sorted({ipc for method in comparison["methods"].values() for ipc in method["accuracy"]}, key=int)


def protocol_of(comparison: Mapping[str, Any]) -> str:
    """Return the protocol in words, for captions."""
    protocol = comparison["protocol"]
    return f"protocol {protocol['name']}, epochs x {protocol['epochs_factor']:g}"


def overview(comparison: Mapping[str, Any]) -> Table:
    """Return the table that comes first: a row per method, a column per IPC, then redundancy and validity."""
    ipcs = all_ipcs(comparison)
    rows, records = [], []
    for name, method in comparison["methods"].items():
        cells = [method["accuracy"].get(ipc) for ipc in ipcs]
        rows.append([name, *map(spread, cells), number(method["redundancy"]), number(method["validity"])])
        values = {f"accuracy_{ipc}": cell and cell["mean"] for ipc, cell in zip(ipcs, cells, strict=True)}
        records.append({"method": name, **values, "redundancy": method["redundancy"], "validity": method["validity"]})
    caption = f"Test accuracy after the last epoch, %, mean ± std (n); {protocol_of(comparison)}."
    header = ["method", *(f"{ipc} IPC" for ipc in ipcs), "redundancy", "validity"]
    return Table("overview", caption, header, rows, records)


def tables(comparison: Mapping[str, Any]) -> list[Table]:
    """Return all tables of a comparison that have a row."""
    found = [
        overview(comparison),
        accuracy_table(comparison, "last"),
        accuracy_table(comparison, "best"),
        cross_architecture(comparison),
        redundancy_table(comparison),
        difference_table(comparison),
    ]
    return [table for table in found if table.rows]


def accuracy_table(comparison: Mapping[str, Any], which: str) -> Table:
    """Return the paper's Table 1: a row per IPC and architecture, a column per method. which: last or best."""
    methods = comparison["methods"]
    rows, records = [], []
    for ipc in all_ipcs(comparison):
        for architecture in next(iter(methods.values()))["architectures"]:
            cells = {name: cell_of(method, architecture, ipc, which) for name, method in methods.items()}
            rows.append([ipc, architecture, *map(spread, cells.values())])
            records += [record(name, architecture, ipc, cell) for name, cell in cells.items()]
    words = "after the last epoch" if which == "last" else "at the best of several evaluations on the test set"
    caption = f"Test accuracy {words}, %, mean ± std (n), by IPC and architecture; {protocol_of(comparison)}."
    return Table(f"accuracy-{which}", caption, ["IPC", "architecture", *methods], rows, records, words=2)


def cross_architecture(comparison: Mapping[str, Any]) -> Table:
    """Return the paper's Table 3: a row per method, a column per architecture, at the largest IPC."""
    methods = comparison["methods"]
    ipc = all_ipcs(comparison)[-1]
    architectures = list(next(iter(methods.values()))["architectures"])
    rows, records = [], []
    for name, method in methods.items():
        cells = {a: cell_of(method, a, ipc, "last") for a in architectures}
        rows.append([name, *map(spread, cells.values())])
        records += [record(name, architecture, ipc, cell) for architecture, cell in cells.items()]
    caption = f"Test accuracy by architecture at {ipc} IPC, %, mean ± std (n); {protocol_of(comparison)}."
    return Table("cross-architecture", caption, ["method", *architectures], rows, records)


def cell_of(method: Mapping[str, Any], architecture: str, ipc: str, which: str) -> Mapping[str, Any] | None:
    """Return one average of a method, None where the method was not evaluated."""
    cell = method["architectures"].get(architecture, {}).get(ipc)
    return cell["best"] if cell and which == "best" else cell


def record(method: str, architecture: str, ipc: str, cell: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return one line of a CSV file."""
    values = {key: cell[key] if cell else None for key in ("mean", "std", "n")}
    return {"method": method, "architecture": architecture, "ipc": ipc, **values}


def redundancy_table(comparison: Mapping[str, Any]) -> Table:
    """Return the table of redundancy: its mean, and how much lower it is than the baseline's."""
    methods = comparison["methods"]
    rows, records = [], []
    for name, lower in lower_than_baseline(methods).items():
        value, std, n = (methods[name][key] for key in ("redundancy", "redundancy_std", "redundancy_n"))
        cell = None if value is None else {"mean": value, "std": std, "n": n}
        rows.append([name, spread(cell), number(lower)])
        records.append({"method": name, "redundancy": value, "std": std, "n": n, "lower_than_dit_percent": lower})
    caption = "Redundancy: accuracy on one increment after training on another, %, mean ± std (n)."
    return Table("redundancy", caption, ["method", "redundancy", "lower than dit, %"], rows, records)


def difference_table(comparison: Mapping[str, Any]) -> Table:
    """Return the table of paired differences: a row per pair of methods and architecture, a column per IPC."""
    ipcs = all_ipcs(comparison)
    pairs: dict[tuple[str, str, str], dict[str, str]] = {}
    for row in comparison["differences"]:
        cell = f"{row['difference']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}]"
        pairs.setdefault((row["method"], row["against"], row["architecture"]), {})[str(row["ipc"])] = cell
    rows = [
        [a, b, architecture, *(cells.get(ipc, "-") for ipc in ipcs)] for (a, b, architecture), cells in pairs.items()
    ]
    caption = "Paired difference of accuracies, percentage points, with a 95 % bootstrap interval over runs and seeds."
    header = ["method", "minus", "architecture", *(f"{ipc} IPC" for ipc in ipcs)]
    return Table("differences", caption, header, rows, comparison["differences"], words=3)
