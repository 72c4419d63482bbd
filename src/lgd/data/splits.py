"""The image set of a configuration, read once per process."""

from __future__ import annotations

from lgd.config import DatasetConfig

from .datasets import find, load_splits, read, resolved
from .imageset import ImageSet, Splits, stratified_split


def cached_splits(config: DatasetConfig) -> Splits:
    """The image set, found and read once per process; what is to be told about it is told then."""
    if config not in _splits:
        while len(_splits) > 1:
            _splits.pop(next(iter(_splits)))
        _splits[config] = load_splits(config)
    return _splits[config]


def cached_test(config: DatasetConfig, resize: int) -> ImageSet:
    """Return the judging part of `cached_splits`, its images resized to `resize` pixels; read once per process."""
    if (config, resize) not in _judging:
        _judging.clear()
        _judging[config, resize] = load_judging(config, resize)
    return _judging[config, resize]


def load_judging(config: DatasetConfig, resize: int) -> ImageSet:
    """Read the judging part of `load_splits`, the shorter side of its images resized to `resize` before the crop.

    Errors: as `load_splits`.
    """
    parts = find(config)
    validation = config.eval_split == "validation"
    images = read(parts[0 if validation else -1], resolved(config, parts), resize)
    if len(parts) == 1:
        images = stratified_split(images, config.test_fraction, config.split_seed)[0 if validation else 1]
    return stratified_split(images, config.validation_fraction, config.split_seed)[1] if validation else images


_judging: dict[tuple[DatasetConfig, int], ImageSet] = {}
_splits: dict[DatasetConfig, Splits] = {}
