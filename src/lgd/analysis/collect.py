"""The units of work of an analysis, and the body of analysis.json from their results."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from lgd.data.splits import cached_splits
from lgd.evaluation.aggregate import reduction, summary
from lgd.execution.units import Unit
from lgd.storage.files import write_json

from .context import AnalysisContext, Inputs, real_sample
from .inputs import AnalysedSet, SetSource, load_set
from .measure import REAL, Cells
from .registry import MEASURES


def units_of(root: Path, context: AnalysisContext, source: SetSource | None) -> list[Unit]:
    """List every computation on one set, or on the real images where `source` is None."""
    owner, count = (source.name, len(load_set(source).increments)) if source else (REAL, 1)
    units = []
    for name, measure in MEASURES.items():
        if count < measure.least_increments or not (source or measure.on_real):
            continue
        for seed in range(context.config.seeds if measure.per_seed else 1):
            for increment in range(count if measure.per_increment else 1):
                path = Cells(root, owner, name).path(seed, increment)
                arguments = (measure.compute, context, source, seed, increment, path)
                units.append(Unit(f"{owner}: {name} {seed}-{increment}", compute_cell, arguments, path))
    return units


def compute_cell(
    compute: Callable[[Inputs], Any],
    context: AnalysisContext,
    source: SetSource | None,
    seed: int,
    increment: int,
    path: Path,
) -> None:
    analysed = load_set(source) if source else real_sample(context)[1]
    write_json(path, compute(Inputs(context, analysed, seed, increment)))


def collect(root: Path, context: AnalysisContext, sets: Mapping[SetSource, AnalysedSet]) -> dict[str, Any]:
    """Aggregate the finished cells: every set's results, and the headline numbers of every group of sets."""
    found = {source.name: _entry(root, source, analysed) for source, analysed in sets.items()}
    return {
        "dataset": context.assets.dataset.source,
        "eval_split": context.assets.dataset.eval_split,
        "settings": asdict(context.config),
        "real": {
            "images": len(cached_splits(context.assets.dataset).train),
            "images_used": len(real_sample(context)[0]),
            **{name: m.aggregate(Cells(root, REAL, name)) for name, m in MEASURES.items() if m.on_real},
        },
        "sets": found,
        "groups": groups(found),
    }


def _entry(root: Path, source: SetSource, analysed: AnalysedSet) -> dict[str, Any]:
    sizes = [len(part) for part in analysed.increments]
    return {
        "group": source.group,
        "path": str(source.path),
        "images": sum(sizes),
        "increments": sizes,
        "notes": list(analysed.notes),
        **{
            name: measure.aggregate(Cells(root, source.name, name)) if len(sizes) >= measure.least_increments else None
            for name, measure in MEASURES.items()
        },
    }


def groups(sets: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Average the headline numbers over the sets of each group; None where no set has the number."""
    headlines = {headline: name for name, measure in MEASURES.items() for headline in measure.headlines}
    found: dict[str, Any] = {}
    for group in dict.fromkeys(entry["group"] for entry in sets.values()):
        members = [entry for entry in sets.values() if entry["group"] == group]
        values = {h: [v for m in members if (v := _at(m[name], h.path)) is not None] for h, name in headlines.items()}
        found[group] = {"sets": len(members), **{h.key: _over_sets(v) if v else None for h, v in values.items()}}
    for key, baseline in ((headline.key, headline.baseline) for headline in headlines):
        base = found.get(baseline, {}).get(key)
        for entry in found.values() if base and base["mean"] > 0 else ():
            own = entry[key]
            entry[f"{key}_reduction_vs_{baseline}"] = own and reduction(base["mean"], own["mean"])
    return found


def _at(result: Any, path: Sequence[str]) -> Any:
    for key in path:
        result = result and result[key]
    return result


def _over_sets(values: Sequence[Any]) -> dict[str, Any]:
    """Summarise numbers; average lists entry by entry, over the longest ones."""
    if not isinstance(values[0], list):
        return summary(values)
    longest = max(map(len, values))
    kept = [value for value in values if len(value) == longest]
    return {"mean": [fmean(entries) for entries in zip(*kept, strict=True)], "n": len(kept)}
