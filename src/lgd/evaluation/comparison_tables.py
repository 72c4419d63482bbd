"""The tables of a comparison of methods (the paper's Tables 1 and 3 among them)."""

from collections.abc import Mapping
from typing import Any

from .aggregate import lower_than_baseline
from .tables import Table, number, spread

COPIES = (
    "Copies, %: images that equal a real one / lie nearer to one than 99 % of real images to another, in the judge's"
    " features / of the anchored images, those as near to their anchor."
)


def all_ipcs(comparison: Mapping[str, Any]) -> list[str]:
    return sorted({ipc for method in comparison["methods"].values() for ipc in method["accuracy"]}, key=int)


def protocol_of(comparison: Mapping[str, Any]) -> str:
    protocol = comparison["protocol"]
    return f"protocol {protocol['name']}, epochs x {protocol['epochs_factor']:g}"


def judge_of(comparison: Mapping[str, Any]) -> str:
    judge = comparison["judge"]
    return f"the judge ({judge['architecture']}, {judge['accuracy']:.1f} % of real test images)"


def redundancy_title(comparison: Mapping[str, Any]) -> str:
    chance = next((m["chance"] for m in comparison["methods"].values() if m["chance"] is not None), None)
    return "redundancy" if chance is None else f"redundancy (chance {chance:.1f})"


def spread_words(comparison: Mapping[str, Any]) -> str:
    """Return what means and deviations of a comparison are over, for captions."""
    several = any(a["runs"] > 1 for method in comparison["methods"].values() for a in method["accuracy"].values())
    return "mean ± std (n) over runs" if several else "mean ± std (n) over the classifiers of one run"


def overview(comparison: Mapping[str, Any]) -> Table:
    """Return the table that comes first: a row per method, a column per IPC, then redundancy, validity, copies."""
    ipcs = all_ipcs(comparison)
    rows, records = [], []
    for name, method in comparison["methods"].items():
        cells = [method["accuracy"].get(ipc) for ipc in ipcs]
        shares = {key: method[key] for key in ("redundancy", "validity", "reference_validity")}
        copies = {f"{key}_copies": value for key, value in method["copies"].items()}
        rows.append([name, *map(spread, cells), *map(number, shares.values()), copied(method)])
        values = {f"accuracy_{ipc}": cell and cell["mean"] for ipc, cell in zip(ipcs, cells, strict=True)}
        records.append({"method": name, **values, **shares, **copies})
    caption = (
        f"Test accuracy after the last epoch, %, {spread_words(comparison)}; {protocol_of(comparison)}. Validity, %:"
        f" images that {judge_of(comparison)} classifies as labelled; by reference: that the reference does. {COPIES}"
    )
    others = ["validity", "by reference", "copies, %"]
    header = ["method", *(f"{ipc} IPC" for ipc in ipcs), redundancy_title(comparison), *others]
    return Table("overview", caption, header, rows, records)


def copied(method: Mapping[str, Any]) -> str:
    """Return the cell of a method's copies: exact / near / of anchors."""
    return " / ".join(map(number, method["copies"].values()))


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
    caption = (
        f"Test accuracy {words}, %, {spread_words(comparison)}, by IPC and architecture; {protocol_of(comparison)}."
    )
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
    caption = f"Test accuracy by architecture at {ipc} IPC, %, {spread_words(comparison)}; {protocol_of(comparison)}."
    return Table("cross-architecture", caption, ["method", *architectures], rows, records)


def cell_of(method: Mapping[str, Any], architecture: str, ipc: str, which: str) -> Mapping[str, Any] | None:
    cell = method["architectures"].get(architecture, {}).get(ipc)
    return cell["best"] if cell and which == "best" else cell


def record(method: str, architecture: str, ipc: str, cell: Mapping[str, Any] | None) -> dict[str, Any]:
    values = {key: cell[key] if cell else None for key in ("mean", "std", "n")}
    return {"method": method, "architecture": architecture, "ipc": ipc, **values}


def redundancy_table(comparison: Mapping[str, Any]) -> Table:
    """Return the table of redundancy: its mean, what of it is above chance, and how much lower than dit's both are."""
    methods = comparison["methods"]
    rows, records = [], []
    lower, lower_above = (lower_than_baseline(methods, above_chance) for above_chance in (False, True))
    for name, method in methods.items():
        value, std, n, chance = (method[key] for key in ("redundancy", "redundancy_std", "redundancy_n", "chance"))
        above = None if value is None else round(value - chance, 6) + 0.0  # no -0.0
        cell = None if value is None else {"mean": value, "std": std, "n": n}
        below = " (below chance)" if above is not None and above < 0 else ""
        signed = "-" if above is None else f"{above:+.1f}{below}"
        rows.append([name, spread(cell), signed, number(lower[name]), number(lower_above[name])])
        records.append(
            {
                "method": name,
                "redundancy": value,
                "std": std,
                "n": n,
                "chance": chance,
                "above_chance": above,
                "lower_than_dit_percent": lower[name],
                "lower_than_dit_above_chance_percent": lower_above[name],
            }
        )
    caption = (
        f"Redundancy: accuracy on one increment after training on another, %, {spread_words(comparison)}. The paper"
        " states how much lower it is than dit's. Above chance: redundancy minus the accuracy of guessing. Below chance"
        " increments contradict each other, which is no merit: the reduction above chance counts it as 100 %."
    )
    header = ["method", redundancy_title(comparison), "above chance", "lower than dit, %", "lower above chance, %"]
    return Table("redundancy", caption, header, rows, records)


def difference_table(comparison: Mapping[str, Any]) -> Table:
    """Return the table of paired differences: a row per pair of methods and architecture, a column per IPC."""
    ipcs = all_ipcs(comparison)
    pairs: dict[tuple[str, str, str], dict[str, str]] = {}
    for row in comparison["differences"]:
        interval = f" [{row['low']:+.1f}, {row['high']:+.1f}]" if row["runs"] > 1 else ""
        cell = f"{row['difference']:+.1f}{interval}"
        pairs.setdefault((row["method"], row["against"], row["architecture"]), {})[str(row["ipc"])] = cell
    rows = [
        [a, b, architecture, *(cells.get(ipc, "-") for ipc in ipcs)] for (a, b, architecture), cells in pairs.items()
    ]
    caption = "Paired difference of accuracies, percentage points"
    if any(row["runs"] > 1 for row in comparison["differences"]):
        caption += ", with a 95 % t interval over runs (docs/protocols.md, Statistics)."
    else:
        caption += ". One run gives no interval: it does not show how much runs differ."
    header = ["method", "minus", "architecture", *(f"{ipc} IPC" for ipc in ipcs)]
    return Table("differences", caption, header, rows, comparison["differences"], words=3)
