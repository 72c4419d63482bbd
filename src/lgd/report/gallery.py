"""The gallery of a report: a sample of the images with the entries of their manifest."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lgd.analysis.inputs import run_config
from lgd.analysis.neighbours import nearest, unit
from lgd.classifiers.architectures import feature_batches, features_of
from lgd.classifiers.train import load_classifier
from lgd.data.class_names import places
from lgd.data.folder import decode_image
from lgd.data.imageset import ImageSet
from lgd.data.splits import cached_splits
from lgd.distillation.store import Row, read_manifest
from lgd.errors import UserError

from .finished_runs import FinishedRun, by_method
from .thumbnails import BUDGET, fitting, from_tensor, opened

LIMIT = 1000
"""images shown; of larger sets, a sample that is balanced over methods, classes and increments"""

Item = tuple[FinishedRun, Path, Row]


def gallery(runs: Sequence[FinishedRun], judge: Path | None) -> tuple[dict[str, Any], list[str]]:
    """Return the data of the gallery, of the first run of every method, and notes on what could not be shown.

    judge: weights of the judge, whose features find the nearest real neighbours.
    """
    notes: list[str] = []
    shown = [own[0] for own in by_method(runs).values()]
    items = [item for run in shown for item in _items(run, notes)]
    kept = sample(items, LIMIT)
    near, real, more = _neighbours(kept, judge)
    notes += more
    data = {
        "methods": [run.method for run in shown],
        "classes": list(shown[0].class_names),
        "total": len(items),
        "images": fitting(lambda: (opened(path) for _, path, _ in kept), BUDGET * 2 // 3 if near else BUDGET),
        "real": fitting(lambda: map(from_tensor, real), BUDGET // 3),
        "items": [
            {"method": run.method, **_facts(row), **({"near": near[i]} if near else {})}
            for i, (run, _, row) in enumerate(kept)
        ],
    }
    return data, notes


def sample(items: Sequence[Item], limit: int) -> list[Item]:
    """Return at most `limit` items: one of each method, class and increment, then a second of each, and so on."""
    if len(items) <= limit:
        return list(items)
    strata: dict[tuple[str, int, int], list[Item]] = {}
    for item in items:
        strata.setdefault((item[0].method, item[2].label, item[2].increment), []).append(item)
    if len(strata) > limit:
        step = len(strata) / limit
        keys = list(strata)
        return [strata[keys[int(i * step)]][0] for i in range(limit)]
    dealt = [item for layer in zip_longest(*strata.values()) for item in layer if item is not None]
    place = {id(item): i for i, item in enumerate(items)}
    return sorted(dealt[:limit], key=lambda item: place[id(item)])


def _items(run: FinishedRun, notes: list[str]) -> list[Item]:
    found, missing = [], 0
    for folder in sorted(path.parent for path in run.path.glob("increments/*/done")):
        for row in read_manifest(folder):
            if (folder / row.file).is_file():
                found.append((run, folder / row.file, row))
            else:
                missing += 1
    if missing:
        notes.append(f"{missing} images listed in the manifests of {run.path.name} are missing.")
    return found


def _facts(row: Row) -> dict[str, Any]:
    chosen = row.candidates[row.chosen]
    return {
        "label": row.label,
        "increment": row.increment,
        "slot": row.slot,
        "score": chosen.score,
        "learner_loss": chosen.learner_loss,
        "reference_loss": chosen.reference_loss,
        "valid": chosen.valid,
        "source": row.source,
        "chosen": row.chosen,
        # As text: a 63-bit seed does not fit a JavaScript number.
        "candidates": [[None if c.seed is None else str(c.seed), c.score, c.valid] for c in row.candidates],
    }


def _neighbours(items: Sequence[Item], judge: Path | None) -> tuple[list[list[Any]], Sequence[Tensor], list[str]]:
    """Return per item its nearest real image (position, label, distance), the real images, and why there are none."""
    if judge is None or not items:
        return [], [], ["Nearest real images are left out: no judge was found beside the runs."]
    config = run_config(items[0][0].path)
    try:
        real = cached_splits(config.dataset).train
        label_in_run = places(real.class_names, items[0][0].class_names, items[0][0].path)
        network = load_classifier(judge, config.judge, real)
        images = torch.stack([decode_image(path) for _, path, _ in items])
        labels = torch.tensor([real.class_names.index(row.class_name) for *_, row in items])
        synthetic = ImageSet(images, labels, real.class_names)
        queries = unit(features_of(network, synthetic))
    except (UserError, RuntimeError) as error:
        return [], [], [f"Nearest real images are left out: {str(error).splitlines()[0]}"]
    distance, place = nearest(queries, map(unit, feature_batches(network, real)))
    used = place.unique(sorted=True)
    position = {int(p): i for i, p in enumerate(used)}
    shown = label_in_run[real.labels[place]].tolist()
    near = [[position[int(p)], label, round(float(d), 4)] for p, label, d in zip(place, shown, distance, strict=True)]
    return near, list(real.pixels(used)), []
