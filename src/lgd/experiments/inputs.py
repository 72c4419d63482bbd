"""Configurations of what a caller in Python gives: a name, a Config, or images in memory."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lgd.config import Config, DatasetConfig, with_per_class, with_values
from lgd.data.arrays import write_arrays
from lgd.data.memory import image_set, matched
from lgd.errors import UserError, nearest
from lgd.progress import log

from .auto import load_config

BUDGET = ("per_class", "increments")  # settings that are no fields of the configuration


def configuration(images: Any, labels: Any, test: Any, settings: Mapping[str, Any]) -> Config:
    """Return the configuration of a run on these images.

    images: a Config, the name of a preset, TOML file or source, or images in memory with `labels`, as `image_set` takes
    them. test: test images in memory; None: held out, or those of the source. settings: `per_class` and `increments`,
    and fields of the configuration by their names, with `__` or `.` between section and field. Errors: UserError.
    """
    values = {name.replace("__", "."): value for name, value in settings.items()}
    budget = {name: values.pop(name) for name in BUDGET if name in values}
    if isinstance(images, Config | str | Path):
        if labels is not None or test is not None:
            raise UserError(f"labels, test: only with images in memory; {images!s:.80} says where they are itself")
        config = images if isinstance(images, Config) else load_config(str(images), dataset_of(values))
    else:
        config = load_config(in_memory(image_set(images, labels), test), dataset_of(values))
    for name in values:
        if (first := name.partition(".")[0]) not in (known := [*BUDGET, *Config.__dataclass_fields__]):
            raise UserError(f"unknown setting {first!r}{nearest(first, known)}; fields inside: guidance__omega=0.5")
    config = with_values(config, values)
    if "per_class" in budget:
        config = with_per_class(config, budget["per_class"], budget.get("increments"))
    elif "increments" in budget:
        config = with_values(config, {"stages.increments": budget["increments"]})
    return alone_where_needed(config, "compute.workers" in values)


def in_memory(train: Any, test: Any) -> str:
    """Write images into the cache and return their source. test: as `image_set` takes them, over the same classes."""
    return write_arrays(train, None if test is None else matched(image_set(test), train.class_names))


def dataset_of(values: Mapping[str, Any]) -> DatasetConfig:
    """Return how images are read, by the fields of `dataset` among dotted names. Errors: UserError."""
    own = {name.removeprefix("dataset."): value for name, value in values.items() if name.startswith("dataset.")}
    return DatasetConfig(**own)


def alone_where_needed(config: Config, chosen: bool) -> Config:
    """Use one process for networks that a notebook defines, which others could not import, unless `chosen`."""
    if chosen or "'__main__:" not in repr(config):
        return config
    log.info("a network is defined in this notebook or script: one process does all the work")
    return with_values(config, {"compute.workers": 1})
