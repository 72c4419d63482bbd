"""Methods side by side: the mean over runs of what each run measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from .aggregate import mean_validity
from .differences import paired_differences
from .tables import Table, markdown, number, spread


def compare(metrics: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """The body of comparison.json from the metrics of each method's runs, of which there must be one at least.

    The deviation is over runs, each of which stands with the mean of its own seeds; one run alone shows the deviation
    over its seeds; `n` is the number that the deviation is over. Validity and redundancy are means over increments and
    runs. `best` is over each seed's best evaluation on the test set, which flatters.
    """
    methods: dict[str, Any] = {name: compare_runs(runs) for name, runs in metrics.items()}
    reduction = None
    if "dit" in methods and "lgd" in methods and methods["dit"]["redundancy"]:
        base = methods["dit"]["redundancy"]
        reduction = 100 * (base - methods["lgd"]["redundancy"]) / base
    return {
        "methods": methods,
        "redundancy_reduction_vs_dit": reduction,
        "differences": paired_differences(metrics),
        "protocol": next(iter(metrics.values()))[0]["protocol"],
    }


def compare_runs(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Accuracy by IPC, and by architecture and IPC, redundancy and validity of one method."""
    headline: dict[str, Any] = {}
    by_architecture: dict[str, dict[str, Any]] = {}
    for increments in zip(*(run["increments"] for run in runs), strict=True):
        ipc = str(increments[0]["ipc"])
        headline[ipc] = over_runs([increment["accuracy"] for increment in increments])
        for name in increments[0]["architectures"]:
            cells = [increment["architectures"][name] for increment in increments]
            by_architecture.setdefault(name, {})[ipc] = over_runs(cells)
    redundancies = [run["redundancy"]["mean_off_diagonal"] for run in runs if run["redundancy"]]
    known = [value for value in redundancies if value is not None]
    return {
        "accuracy": headline,
        "architectures": by_architecture,
        "redundancy": fmean(known) if known else None,
        "redundancy_std": stdev(known) if len(known) > 1 else 0.0,
        "redundancy_n": len(known),
        "validity": mean_validity(runs),
        "matrix": mean_matrix([run["redundancy"]["matrix"] for run in runs if run["redundancy"]]),
    }


def over_runs(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean, deviation and n of the runs' means, last and best."""
    return {**spread_over_runs(cells), "runs": len(cells), "best": spread_over_runs([c["best"] for c in cells])}


def spread_over_runs(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    means = [cell["mean"] for cell in cells]
    if len(means) == 1:
        return {"mean": means[0], "std": cells[0]["std"], "n": len(cells[0]["values"])}
    return {"mean": fmean(means), "std": stdev(means), "n": len(means)}


def mean_matrix(matrices: Sequence[Sequence[Sequence[float]]]) -> list[list[float]] | None:
    """Entry by entry; None where there is nothing."""
    if not matrices:
        return None
    return [[fmean(entries) for entries in zip(*rows, strict=True)] for rows in zip(*matrices, strict=True)]


def table(comparison: Mapping[str, Any]) -> str:
    """Markdown: a row per method, a column per IPC, then redundancy and validity."""
    return markdown(overview(comparison))


def all_ipcs(comparison: Mapping[str, Any]) -> list[str]:
    """Every IPC that a method was judged at, ascending."""
    return sorted({ipc for method in comparison["methods"].values() for ipc in method["accuracy"]}, key=int)


def protocol_of(comparison: Mapping[str, Any]) -> str:
    """The protocol in words, for captions."""
    protocol = comparison["protocol"]
    return f"protocol {protocol['name']}, epochs x {protocol['epochs_factor']:g}"


def overview(comparison: Mapping[str, Any]) -> Table:
    """What a person wants to see first."""
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
    """All tables of a comparison (the paper's Tables 1 and 3 among them)."""
    return [
        overview(comparison),
        accuracy_table(comparison, "last"),
        accuracy_table(comparison, "best"),
        cross_architecture(comparison),
        redundancy_table(comparison),
        difference_table(comparison),
    ]


def accuracy_table(comparison: Mapping[str, Any], which: str) -> Table:
    """The paper's Table 1: a row per IPC and architecture, a column per method. which: last or best."""
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
    """The paper's Table 3: a row per method, a column per architecture, at the largest IPC."""
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
    """One summary of a method, None where it was not judged."""
    cell = method["architectures"].get(architecture, {}).get(ipc)
    return cell["best"] if cell and which == "best" else cell


def record(method: str, architecture: str, ipc: str, cell: Mapping[str, Any] | None) -> dict[str, Any]:
    """One line of a CSV file."""
    values = {key: cell[key] if cell else None for key in ("mean", "std", "n")}
    return {"method": method, "architecture": architecture, "ipc": ipc, **values}


def redundancy_table(comparison: Mapping[str, Any]) -> Table:
    """Mean of the redundancy matrix off its diagonal, and how much lower it is than `dit`'s."""
    methods = comparison["methods"]
    base = methods.get("dit", {}).get("redundancy")
    rows, records = [], []
    for name, method in methods.items():
        value, std, n = (method[key] for key in ("redundancy", "redundancy_std", "redundancy_n"))
        lower = None if value is None or not base else 100 * (base - value) / base
        cell = None if value is None else {"mean": value, "std": std, "n": n}
        rows.append([name, spread(cell), number(lower)])
        records.append({"method": name, "redundancy": value, "std": std, "n": n, "lower_than_dit_percent": lower})
    caption = "Redundancy: accuracy on one increment after training on another, %, mean ± std (n)."
    return Table("redundancy", caption, ["method", "redundancy", "lower than dit, %"], rows, records)


def difference_table(comparison: Mapping[str, Any]) -> Table:
    """Paired differences, a row per pair of methods and architecture, a column per IPC."""
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
