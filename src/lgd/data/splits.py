"""The image set of a configuration, read once per process and working directory, which relative paths depend on."""

from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from lgd.config import Config, DatasetConfig, check
from lgd.errors import UserError

from .datasets import find, load_splits, read
from .dimensions import resolved
from .imageset import ImageSet, Splits, stratified_split
from .messages import tell


def read_images(source: str, part: Literal["train", "test"] = "train", **dataset: Any) -> ImageSet:
    """Read one part of a source of images, such as folder:PATH, as a run with that `dataset.source` does.

    dataset: other fields of `dataset`, such as size. Errors: UserError, as `load_splits`.
    """
    if part not in ("train", "test"):
        raise UserError(f"part: must be train or test, not {part!r}")
    splits = load_splits(check(Config(dataset=DatasetConfig(source, **dataset))).dataset)
    return splits.train if part == "train" else splits.test


def cached_splits(config: DatasetConfig) -> Splits:
    """Return the image set of a configuration, found and read once per process; its messages are logged then."""
    return _splits(config, Path.cwd())


def cached_test(config: DatasetConfig, resize: int) -> ImageSet:
    """Return the evaluation part of `cached_splits`, its images resized to `resize` pixels; read once per process."""
    return _test(config, resize, Path.cwd())


@lru_cache(maxsize=2)
def _splits(config: DatasetConfig, here: Path) -> Splits:
    return load_splits(config)


@lru_cache(maxsize=1)
def _test(config: DatasetConfig, resize: int, here: Path) -> ImageSet:
    """Read the test images again, the shorter side resized to `resize` before the crop. Errors: as `load_splits`."""
    parts = find(config, tell)
    validation = config.eval_split == "validation"
    images = read(parts[0 if validation else -1], resolved(config, parts, tell), tell, resize)
    if len(parts) == 1:
        images = stratified_split(images, config.test_fraction, config.split_seed)[0 if validation else 1]
    return stratified_split(images, config.validation_fraction, config.split_seed)[1] if validation else images
