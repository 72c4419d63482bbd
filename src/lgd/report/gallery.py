"""The gallery of a report: a sample of the images with the entries of their manifest."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lgd.analysis.inputs import run_config
from lgd.analysis.measure import styles_of
from lgd.analysis.neighbours import nearest, unit
from lgd.classifiers.architectures import feature_batches, features_and_logits
from lgd.classifiers.train import load_classifier
from lgd.data.class_names import places
from lgd.data.folder import decode_image
from lgd.data.imageset import ImageSet
from lgd.data.splits import cached_splits
from lgd.distillation.rejected import read_rejected
from lgd.distillation.store import Row, picture, read_manifest
from lgd.errors import UserError
from lgd.rng import generator

from .finished_runs import FinishedRun, by_method
from .thumbnails import BUDGET, fitting, opened

LIMIT = 1000
"""images shown; of larger sets, a sample that is balanced over methods, classes and increments"""

REAL_PER_CLASS = 4
"""real images of each class beside the distilled ones"""
WALL_CLASSES = 20
"""classes shown there"""

Item = tuple[FinishedRun, Path, Row]


@dataclass(frozen=True)
class Judged:
    """The opinion of the judge on the images of a gallery, and real images to compare them with."""

    near: list[list[Any]]
    """per image its nearest real image: position in `real`, label, distance"""
    named: list[list[Any]]
    """per image the class that the judge names, and the probability that it gives to the image's own class"""
    real: Sequence[Tensor]
    wall: list[list[int]]
    """per class, positions in `real` of images chosen at random"""


def gallery(runs: Sequence[FinishedRun], judge: Path | None) -> tuple[dict[str, Any], list[str]]:
    """Return the data of the gallery, of the first run of every method, and notes on what could not be shown.

    judge: weights of the judge, whose features find the nearest real neighbours and whose answers mark doubtful labels.
    """
    notes: list[str] = []
    shown = [own[0] for own in by_method(runs).values()]
    items = [item for run in shown for item in _items(run, notes)]
    kept = sample(items, LIMIT)
    judged, more = _judged(kept, judge)
    notes += more
    rejected = {i: images for i, (_, path, row) in enumerate(kept) if (images := rejected_images(path, row))}
    flat = [(i, k, image) for i, images in rejected.items() for k, image in images.items()]
    parts = 2 + bool(flat) if judged else 1 + bool(flat)
    data = {
        "methods": [run.method for run in shown],
        "colours": [style.colour for style in styles_of(run.method for run in shown).values()],
        "classes": list(shown[0].class_names),
        "total": len(items),
        "images": fitting(lambda: (opened(path) for _, path, _ in kept), BUDGET * 2 // (parts + 1)),
        "real": fitting(lambda: map(picture, judged.real if judged else []), BUDGET // (parts + 1)),
        "wall": judged.wall if judged else [],
        "rejected": fitting(lambda: (picture(image) for *_, image in flat), BUDGET // (parts + 1)),
        "items": [
            {
                "method": run.method,
                **_facts(row),
                **({"near": judged.near[i], "named": judged.named[i]} if judged else {}),
                "rejected": {k: place for place, (owner, k, _) in enumerate(flat) if owner == i} if rejected else {},
            }
            for i, (run, _, row) in enumerate(kept)
        ],
    }
    return data, notes


def sample(items: Sequence[Item], limit: int) -> list[Item]:
    """Return at most `limit` items: one of each method, class and increment, then a second of each, and so on."""
    strata: dict[tuple[str, int, int], list[int]] = {}
    for i, (run, _, row) in enumerate(items):
        strata.setdefault((run.method, row.label, row.increment), []).append(i)
    if len(strata) > limit:
        step = len(strata) / limit
        keys = list(strata)
        return [items[strata[keys[int(i * step)]][0]] for i in range(limit)]
    dealt = [i for layer in zip_longest(*strata.values()) for i in layer if i is not None]
    return [items[i] for i in sorted(dealt[:limit])]


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


def _judged(items: Sequence[Item], judge: Path | None) -> tuple[Judged | None, list[str]]:
    """Ask the judge about the images; returns None and the reason where that is not possible."""
    if judge is None or not items:
        return None, ["Nearest real images are left out: no judge was found beside the runs."]
    config = run_config(items[0][0].path)
    try:
        real = cached_splits(config.dataset).train
        label_in_run = places(real.class_names, items[0][0].class_names, items[0][0].path)
        network = load_classifier(judge, config.judge, real)
        images = torch.stack([decode_image(path) for _, path, _ in items])
        labels = torch.tensor([real.class_names.index(row.class_name) for *_, row in items])
        features, logits = features_and_logits(network, ImageSet(images, labels, real.class_names))
    except (UserError, RuntimeError) as error:
        return None, [f"Nearest real images are left out: {str(error).splitlines()[0]}"]
    distance, place = nearest(unit(features), map(unit, feature_batches(network, real)))
    own = logits.softmax(1).gather(1, labels[:, None])[:, 0]
    in_run = label_in_run.tolist()
    named = [[in_run[int(k)], round(float(p), 3)] for k, p in zip(logits.argmax(1), own, strict=True)]
    examples = [_examples(real, name) for name in items[0][0].class_names[:WALL_CLASSES]]
    used = torch.cat([place, *examples]).unique(sorted=True)
    position = {int(p): i for i, p in enumerate(used)}
    shown = label_in_run[real.labels[place]].tolist()
    near = [[position[int(p)], label, round(float(d), 4)] for p, label, d in zip(place, shown, distance, strict=True)]
    wall = [[position[int(p)] for p in own_examples] for own_examples in examples]
    return Judged(near, named, list(real.pixels(used)), wall), []


def _examples(real: ImageSet, class_name: str) -> Tensor:
    """Return the positions of a few random real images of a class, the same in every report."""
    members = real.indices_of(real.class_names.index(class_name))
    order = torch.randperm(len(members), generator=generator("report", class_name))
    return members[order[:REAL_PER_CLASS]]


def rejected_images(path: Path, row: Row) -> dict[int, Tensor]:
    """Return the pictures of the candidates that were not kept, by their index. path: of the kept image."""
    pictures = read_rejected(path.parents[1], row.file)
    others = [k for k in range(len(row.candidates)) if k != row.chosen]
    return {} if pictures is None else dict(zip(others, pictures, strict=False))
