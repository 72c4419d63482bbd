"""Calibrate the strength of guidance: the largest at which an independent network still recognises the images.

Too much guidance is adversarial: the reference, which takes part in it, still recognises the images, and another
network does not (docs/method.md, "Calibrated strength").
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from statistics import fmean
from typing import Any

from lgd.classifiers.architectures import predict
from lgd.execution.units import Unit
from lgd.progress import log
from lgd.storage.files import read_json, write_json

from .fresh import fresh_images
from .layout import CALIBRATED_STRENGTHS
from .methods import is_calibrated
from .recipe import Growth
from .resources import Resources
from .store import keep_or_write

LOST = 5.0
"""percentage points that the independent network may recognise less than of images at strength 0, beyond the standard
error of the difference"""
RATIO = 1.6
"""of one strength to the one before it"""


def calibration_units(growth: Growth, increment: int) -> list[Unit]:
    """Return one unit per strength, before the first increment of a method whose strength is calibrated."""
    if increment != growth.first_of(increment) or not is_calibrated(growth.recipe(increment)):
        return []
    return [
        Unit(f"calibration {index}", measure_strength, (growth, increment, index, done), done)
        for index in range(CALIBRATED_STRENGTHS)
        for done in [growth.run.calibration_row(increment, index)]
    ]


def strengths_for(values: int) -> list[float]:
    """Return 0 and rising strengths for samples of that many values.

    A strength is a length in units of the noise's. The noise's grows with the root of the number of values, and
    guidance moves along one direction; 0.45 is right for the 64 values of digits. The ladder reaches from a fourth of
    the scaled strength to 1.6 times it.
    """
    scaled = 0.45 * min(1.0, (64 / values) ** 0.5)
    return [0.0, *(float(f"{scaled * RATIO**k:.2g}") for k in range(3 - CALIBRATED_STRENGTHS, 2))]


def measure_strength(growth: Growth, increment: int, index: int, done: Path) -> None:
    """Sample fresh images at one strength and write who recognises how many, in percent, and their mean score.

    `recognised` is the independent network's share of the images that the reference recognises, which are those that
    selection keeps; deviation guidance is that of the run at every strength.
    """
    resources = Resources(growth, increment, range(0))
    strength = strengths_for(prod(resources.generator.latent_shape))[index]
    guidance = replace(growth.recipe(increment).guidance, strength=strength)
    images, candidates = fresh_images(growth, increment, guidance, "calibration")
    recognised = predict(resources.independent, images).argmax(1).eq(images.labels).tolist()
    valid = [bool(candidate.valid) for candidate in candidates]
    scores = [candidate.score for candidate in candidates if candidate.score is not None]
    row = {
        "strength": strength,
        "recognised": 100 * sum(map(all, zip(recognised, valid, strict=True))) / max(1, sum(valid)),
        "recognised_by_reference": 100 * fmean(valid),
        "score": fmean(scores) if scores else None,
        "images": len(images),
    }
    write_json(done, row)


def finish_calibration(growth: Growth, increment: int) -> None:
    rows = [read_json(growth.run.calibration_row(increment, index)) for index in range(CALIBRATED_STRENGTHS)]
    table = {"strength": chosen_strength(rows), "lost": LOST, "rows": rows}
    path = growth.run.calibration(increment)
    keep_or_write(path, json.dumps(table, indent=1) + "\n")
    log.info(f"{path}: strength of guidance {table['strength']:g}")


def chosen_strength(rows: Sequence[dict[str, Any]]) -> float:
    """Return the largest strength that loses at most `LOST` points and one standard error of what strength 0 has.

    Some sixty images tell shares apart by no less than their error.
    """
    plain = next(row for row in rows if not row["strength"])

    def variance(row: dict[str, Any]) -> float:
        share, valid = row["recognised"] / 100, row["images"] * row["recognised_by_reference"] / 100
        return share * (1 - share) / max(1.0, valid)

    def allowed(row: dict[str, Any]) -> float:
        return LOST + 100 * (variance(plain) + variance(row)) ** 0.5

    return max(row["strength"] for row in rows if plain["recognised"] - row["recognised"] <= allowed(row))
