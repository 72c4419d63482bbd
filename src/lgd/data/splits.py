"""The image set of a configuration, read once per process."""

from __future__ import annotations

from lgd.config import DatasetConfig

from .datasets import find, load_splits, read
from .dimensions import resolved
from .imageset import ImageSet, Splits, stratified_split
from .messages import tell


def cached_splits(config: DatasetConfig) -> Splits:
    """Return the image set of a configuration, found and read once per process; its messages are logged then."""
    if config not in _splits:
        while len(_splits) > 1:
            _splits.pop(next(iter(_splits)))
        _splits[config] = load_splits(config)
    return _splits[config]


def cached_test(config: DatasetConfig, resize: int) -> ImageSet:
    """Return the evaluation part of `cached_splits`, its images resized to `resize` pixels; read once per process."""
    if (config, resize) not in _tests:
        _tests.clear()
        _tests[config, resize] = load_test(config, resize)
    return _tests[config, resize]


def load_test(config: DatasetConfig, resize: int) -> ImageSet:
    """Read the evaluation part of `load_splits`, the shorter side of its images resized to `resize` before the crop.

    Errors: as `load_splits`.
    """
    parts = find(config, tell)
    validation = config.eval_split == "validation"
    images = read(parts[0 if validation else -1], resolved(config, parts, tell), tell, resize)
    if len(parts) == 1:
        images = stratified_split(images, config.test_fraction, config.split_seed)[0 if validation else 1]
    return stratified_split(images, config.validation_fraction, config.split_seed)[1] if validation else images


_tests: dict[tuple[DatasetConfig, int], ImageSet] = {}
_splits: dict[DatasetConfig, Splits] = {}
