"""The image set of a configuration, read once per process."""

from __future__ import annotations

from lgd.config import DatasetConfig

from .datasets import load_splits
from .imageset import Splits


def cached_splits(config: DatasetConfig) -> Splits:
    """The image set, found and read once per process; what is to be told about it is told then."""
    if config not in _splits:
        while len(_splits) > 1:
            _splits.pop(next(iter(_splits)))
        _splits[config] = load_splits(config)
    return _splits[config]


_splits: dict[DatasetConfig, Splits] = {}
