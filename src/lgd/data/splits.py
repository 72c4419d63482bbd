"""The image set of a configuration, read once per process and working directory, which relative paths depend on."""

from __future__ import annotations

from pathlib import Path

from lgd.config import DatasetConfig

from .datasets import find, load_splits, read
from .dimensions import resolved
from .imageset import ImageSet, Splits, stratified_split
from .messages import tell


def cached_splits(config: DatasetConfig) -> Splits:
    """Return the image set of a configuration, found and read once per process; its messages are logged then."""
    key = (config, Path.cwd())
    if key not in _splits:
        while len(_splits) > 1:
            _splits.pop(next(iter(_splits)))
        _splits[key] = load_splits(config)
    return _splits[key]


def cached_test(config: DatasetConfig, resize: int) -> ImageSet:
    """Return the evaluation part of `cached_splits`, its images resized to `resize` pixels; read once per process."""
    key = (config, Path.cwd(), resize)
    if key not in _tests:
        _tests.clear()
        _tests[key] = load_test(config, resize)
    return _tests[key]


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


_tests: dict[tuple[DatasetConfig, Path, int], ImageSet] = {}
_splits: dict[tuple[DatasetConfig, Path], Splits] = {}
