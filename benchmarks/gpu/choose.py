"""Choose among settings that compare.py has evaluated on validation images.

    python benchmarks/gpu/choose.py OUT

OUT: of compare.py with variants whose names are FIELD=VALUE. Of each field the value wins whose sub-runs have the
highest mean accuracy over methods, seeds, architectures and sizes; only sub-runs that all values of the field have
count. Prints a table, and writes OUT/chosen.txt, the winners as words for --set.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from statistics import fmean

Cells = dict[tuple[str, str], float]
"""accuracy by sub-run and cell"""


def accuracies(variant: Path) -> Cells:
    """Read the accuracies of the sub-runs that have all of theirs."""
    return {
        (run.parent.name, cell.stem): json.loads(cell.read_text())["accuracy"]
        for run in variant.glob("*/accuracies.done")
        for cell in run.parent.glob("evaluation/accuracy-*.json")
    }


def fields_of(out: Path) -> dict[str, dict[str, Cells]]:
    """Return the accuracies by field and value."""
    found: dict[str, dict[str, Cells]] = defaultdict(dict)
    for variant in sorted(path for path in out.iterdir() if "=" in path.name and path.is_dir()):
        field, value = variant.name.split("=", 1)
        if cells := accuracies(variant):
            found[field][value] = cells
    return found


def choose(values: dict[str, Cells]) -> tuple[str, set[tuple[str, str]]]:
    """Return the best of a field's values, and the cells that all of them have."""
    shared = set.intersection(*(set(cells) for cells in values.values()))
    return max(values, key=lambda value: fmean(values[value][cell] for cell in shared) if shared else 0.0), shared


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    options = parser.parse_args(arguments)
    words, lines = [], ["| field | value | mean | sub-runs | " + "by method |", "|---|---|---:|---:|---|"]
    for field, values in fields_of(options.out).items():
        best, shared = choose(values)
        if not shared:
            continue
        words.append(f"{field}={best}")
        for value, cells in values.items():
            methods: dict[str, list[float]] = defaultdict(list)
            for run, cell in shared:
                methods[run.rsplit("-seed", 1)[0]].append(cells[run, cell])
            own = ", ".join(f"{name} {fmean(numbers):.2f}" for name, numbers in sorted(methods.items()))
            mean, runs = fmean(cells[cell] for cell in shared), len({run for run, _ in shared})
            told = f"**{value}**" if value == best else value
            lines.append(f"| {field} | {told} | {mean:.2f} | {runs} | {own} |")
    print("\n".join(lines))
    (options.out / "chosen.txt").write_text(" ".join(words) + "\n")


if __name__ == "__main__":
    main()
