"""Simulate the coverage of intervals over runs, and remake every recorded interval: writes benchmarks/intervals.md.

    python benchmarks/intervals.py                          # remake the file from benchmarks/records/*.json
    python benchmarks/intervals.py --record NAME DIR        # first record a finished comparison as records/NAME.json

A record holds the accuracy of every classifier of every run, so that any interval can be computed again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ttest_ind

from lgd.evaluation.intervals import LEVEL, paired_differences, t_interval, values_by_cell
from lgd.evaluation.tables import Table, markdown
from lgd.storage.files import read_json, write_json, write_text

HERE = Path(__file__).parent
RUNS, SEEDS, TRIALS = (3, 5, 10), 5, 4000
UNPAIRED = (10, 21)
"""runs of two methods that are compared without pairs"""
Metrics = dict[str, list[dict[str, Any]]]
"""of each method's runs"""
Draw = Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.float64]]
DISTRIBUTIONS: dict[str, Draw] = {
    "normal": lambda random, shape: random.normal(size=shape),
    "uniform": lambda random, shape: random.uniform(-1, 1, shape),
    "heavy tails (t, 3 degrees of freedom)": lambda random, shape: random.standard_t(3, shape),
    "skewed (exponential - 1)": lambda random, shape: random.exponential(size=shape) - 1,
}
"""of the means of runs, around a true mean of zero"""
PAGE = """\
# Intervals

`python benchmarks/intervals.py` writes this page: the simulation, and every interval that README and benchmarks quote.

## Coverage by simulation

Percent of {trials} simulated comparisons whose 95 % interval holds the true mean. A run has {seeds} classifiers, which
deviate from its mean as much as normal means deviate from each other.

{coverage}
The interval is Student's t over run means, or over paired differences of them. It assumes that runs are independent
and that their means are about normal. Means with heavy tails are covered more often, skewed ones less often. Until 26
November lgd printed the percentile bootstrap, which is too narrow with few runs.

Where methods have different numbers of runs, their means are compared without pairs, by Welch's interval. With {first}
and {second} runs, of which the first have half the spread, it holds the true difference in {welch} percent of
trials for these four distributions.

Runs of a comparison share the generator, the reference and the test images. So an interval tells about other seeds with
these, and not about another generator or data set. Of many intervals at 95 %, one in twenty misses.

{records}## Not recorded

Records began with the judge of validity. These tables were measured before, and only their summaries exist. No interval
of theirs can be remade, so the former ones are removed:

- digits-results.md: ten to fifty images per class, the preset until 25 November, the first trial's generator, the
  weaker generator. Three runs each.
- tiny-imagenet-10-results.md: one run, so there is no interval about methods.
"""
RECORD = """\
## {name}

    {command}

{machine}. Accuracy of a method minus that of another, percentage points, {pairs}. {runs}.

{tables}

"""
OURS = ("lgd", "lgd-anchored", "lgd-anchored-easiest", "lgd-real-easiest")
"""methods whose lead is asked for"""


def simulated(draw: Draw, runs: int) -> NDArray[np.float64]:
    """Return the accuracies of simulated comparisons around a true mean of zero, (TRIALS, runs, SEEDS).

    A run has a mean of its own from `draw`, and classifiers of normal deviation 1 around it.
    """
    random = np.random.default_rng(runs)
    return draw(random, (TRIALS, runs, 1)) + random.normal(size=(TRIALS, runs, SEEDS))


def coverage_of_t(values: NDArray[np.float64]) -> float:
    """Return in how many percent of trials the 95 % t interval over run means holds zero."""
    found = [t_interval(means) for means in values.mean(2).tolist()]
    return 100 * float(np.mean([interval is not None and interval[0] <= 0 <= interval[1] for interval in found]))


def coverage_of_bootstrap(values: NDArray[np.float64], draws: int = 200) -> float:
    """Return the same of the percentile bootstrap that lgd had before: runs are drawn, then seeds in them."""
    random = np.random.default_rng(0)
    hits = 0
    for one in values:
        R, S = one.shape
        runs, seeds = random.integers(0, R, (draws, R)), random.integers(0, S, (draws, R, S))
        low, high = np.quantile(one[runs[:, :, None], seeds].mean((1, 2)), [0.025, 0.975])
        hits += low <= 0 <= high
    return 100 * hits / len(values)


def coverage_of_welch(draw: Draw) -> float:
    """Return the same of Welch's interval, for `UNPAIRED` runs of which the first have half the spread."""
    first, second = (simulated(draw, runs).mean(2) for runs in UNPAIRED)
    found = ttest_ind(first / 2, second, axis=1, equal_var=False).confidence_interval(LEVEL)
    return 100 * float(np.mean((found.low <= 0) & (found.high >= 0)))


def coverage_table() -> str:
    """Return the simulation's table."""
    rows = []
    for name, draw in DISTRIBUTIONS.items():
        rows.append(["t over run means", name, *(f"{coverage_of_t(simulated(draw, runs)):.1f}" for runs in RUNS)])
    former = [coverage_of_bootstrap(simulated(DISTRIBUTIONS["normal"], runs)) for runs in RUNS]
    rows.append(["percentile bootstrap, until 26 November", "normal", *(f"{found:.1f}" for found in former)])
    header = ["95 % interval", "means of runs", *(f"{runs} runs" for runs in RUNS)]
    return markdown(Table("coverage", "", header, rows, words=2))


def record(name: str, folder: Path, command: str, machine: str, paired: bool = True) -> None:
    """Write records/NAME.json: the numbers of every run of a finished comparison, without matrices."""
    methods: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("*-seed*/metrics.json")):
        run = read_json(path)
        increments = [
            {
                **{key: row[key] for key in ("ipc", "images", "validity", "reference_validity")},
                "architectures": {a: {"values": cell["values"]} for a, cell in row["architectures"].items()},
            }
            for row in run["increments"]
        ]
        found = run["redundancy"] and {k: run["redundancy"][k] for k in ("mean_off_diagonal", "values", "chance")}
        one = {key: run[key] for key in ("seed", "judge", "reference")}
        methods.setdefault(run["method"], []).append({**one, "increments": increments, "redundancy": found})
    told: dict[str, Any] = {"command": command, "machine": machine, **({} if paired else {"paired": False})}
    write_json(HERE / "records" / f"{name}.json", {**told, "methods": methods})


def welch_interval(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """Return the interval of the mean of `first` minus that of `second`, independent and about normal values."""
    found = ttest_ind(first, second, equal_var=False).confidence_interval(LEVEL)
    return float(found.low), float(found.high)


def unpaired_differences(metrics: Metrics) -> list[dict[str, Any]]:
    """Return the rows of `paired_differences` for methods whose numbers of runs differ, with Welch's interval."""
    means = {
        method: {cell: [fmean(values) for values in runs.values()] for cell, runs in values_by_cell(own).items()}
        for method, own in metrics.items()
    }
    rows = []
    for against, method in combinations(means, 2):
        for (ipc, architecture), own in means[method].items():
            others = means[against].get((ipc, architecture), [])
            if min(len(own), len(others)) < 2:
                continue
            low, high = welch_interval(own, others)
            row: dict[str, Any] = {"method": method, "against": against, "architecture": architecture, "ipc": ipc}
            rows.append({**row, "difference": fmean(own) - fmean(others), "low": low, "high": high, "runs": len(own)})
    return rows


def difference_rows(metrics: Metrics, method: str, paired: bool = True) -> Iterator[list[str]]:
    """Yield a row per other method and architecture: `method` minus it, by IPC, with the interval of several runs."""
    ordered = {name: runs for name, runs in metrics.items() if name != method} | {method: metrics[method]}
    cells: dict[tuple[str, str], dict[int, str]] = {}
    for row in (paired_differences if paired else unpaired_differences)(ordered):
        if row["method"] == method:
            interval = f" [{row['low']:+.1f}, {row['high']:+.1f}]" if row["runs"] > 1 else ""
            own = cells.setdefault((row["against"], row["architecture"]), {})
            own[row["ipc"]] = f"{row['difference']:+.1f}{interval}"
    ipcs = sorted({ipc for one in cells.values() for ipc in one})
    yield [f"{method} minus", "architecture", *(f"{ipc} IPC" for ipc in ipcs)]
    for names, one in cells.items():
        yield [*names, *(one.get(ipc, "-") for ipc in ipcs)]


def difference_tables(metrics: Metrics, name: str, paired: bool = True) -> Iterator[str]:
    """Yield a table for each of our methods; of paired ones, those that have the most runs."""
    most = max(map(len, metrics.values()))
    whole = {method: runs for method, runs in metrics.items() if len(runs) == most or not paired}
    for method in OURS:
        if method in whole:
            header, *rows = difference_rows(whole, method, paired)
            yield markdown(Table(name, "", header, rows, words=2))


def page() -> str:
    """Return the whole of intervals.md."""
    records = ""
    for path in sorted((HERE / "records").glob("*.json")):
        found = read_json(path)
        paired, counts = found.get("paired", True), {name: len(own) for name, own in found["methods"].items()}
        n = max(counts.values())
        runs = f"{n} runs, with the 95 % t interval" if n > 1 else "One run, so there is no interval about methods"
        if not paired:
            told = ", ".join(f"{count} runs of {name}" for name, count in counts.items())
            runs = f"{told}, with Welch's 95 % t interval"
        tables = "\n\n".join(table.strip() for table in difference_tables(found["methods"], path.stem, paired))
        facts = {key: found[key] for key in ("command", "machine")}
        pairs = "paired by run" if paired else "not paired"
        records += RECORD.format(name=path.stem, runs=runs, tables=tables, pairs=pairs, **facts)
    (first, second), welch = UNPAIRED, ", ".join(f"{coverage_of_welch(draw):.1f}" for draw in DISTRIBUTIONS.values())
    facts = {"trials": TRIALS, "seeds": SEEDS, "first": first, "second": second, "welch": welch}
    return PAGE.format(**facts, coverage=coverage_table(), records=records)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", nargs=2, metavar=("NAME", "DIR"))
    parser.add_argument("--command", default="", help="the command that made DIR")
    parser.add_argument("--machine", default="", help="the processor that it ran on")
    parser.add_argument("--unpaired", action="store_true", help="methods have different numbers of runs, of one kind")
    options = parser.parse_args()
    if options.record:
        name, folder = options.record
        record(name, Path(folder), options.command, options.machine, not options.unpaired)
    write_text(HERE / "intervals.md", page())


if __name__ == "__main__":
    main()
