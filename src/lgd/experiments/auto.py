"""Automatic settings for images without a preset: all follow from the images' size, channels and number.

The budget is minutes on two CPU cores for a few thousand small images. More generator.steps and reference epochs give
better images and a better reference.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lgd.config import Config, DatasetConfig, Precision, TrainingConfig, check, presets, with_values
from lgd.config import load_config as load_preset
from lgd.errors import UserError
from lgd.execution.hardware import computes_in_bfloat16
from lgd.progress import log

if TYPE_CHECKING:
    from lgd.data.splits import Survey

HALF_PRECISION_FROM = 28
"""side in pixels; for smaller images, conversions cost the processor more than bfloat16 gains"""
AUTOMATIC = "automatic"  # name of the configuration
MINUTES = 10.0  # the budget unless --minutes says another (budget.py)
MOST_PATCHES = 11  # largest number of patches along a side of the denoiser's input


def is_source(name: str) -> bool:
    """Return whether a name stands for images, such as folder:PATH, and not for a preset or a file."""
    if ":" not in name:
        return False  # before an import that takes a second
    from lgd.data.sources import SOURCES

    kind, _, _ = name.partition(":")
    return kind in SOURCES and bool(SOURCES[kind].argument)


def as_source(name: str) -> str:
    """Return the configuration or source that a path stands for.

    A run stands for its config.json, another folder for folder:PATH, and a Parquet file for parquet:PATH; any other
    name is returned as it is.
    """
    path = Path(name)
    if name in presets() or is_source(name) or not path.exists():
        return name
    if (path / "config.json").is_file():
        return str(path / "config.json")
    kind = "folder" if path.is_dir() else "parquet" if path.suffix == ".parquet" else ""
    if kind:
        log.info(f"{name}: read as {kind}:{name}")
    return f"{kind}:{name}" if kind else name


def load_config(name: str, dataset: DatasetConfig | None = None) -> Config:
    """Load a preset by name, a TOML file or a run by path, or choose settings for images such as folder:PATH.

    dataset: how to read these images. Errors: UserError.
    """
    name = as_source(name)
    if not is_source(name):
        return load_preset(name)
    from lgd.data.splits import survey

    found = survey(check(Config(dataset=replace(dataset or DatasetConfig(), source=name))).dataset)
    config = settings_for(found, computes_in_bfloat16())
    size, colours = found.dataset.size, "grey" if found.dataset.channels == 1 else "RGB"
    log.info(
        f"{name}: {found.train} training and {found.test} test images, {len(found.class_names)} classes; read as"
        f" {size} x {size} {colours}. Settings follow from them; config.json has all"
    )
    return config


def check_budget(config: Config) -> None:
    """Check that a budget has settings to fit. Errors: UserError."""
    if config.minutes and config.name != AUTOMATIC:
        raise UserError(
            f"minutes: the settings of {config.name} are given; a budget fits those of images such as folder:PATH"
        )


def settings_for(found: Survey, half_precision: bool) -> Config:
    """Choose the configuration for a set of images. half_precision: whether this machine is faster in bfloat16."""
    size, classes = found.dataset.size, len(found.class_names)
    small = size < HALF_PRECISION_FROM
    precision: Precision = "bfloat16" if half_precision and not small else "float32"
    training = TrainingConfig(crop_padding=max(1, size // 8), precision=precision)
    # As many images as take a minute or two; classes of few images are seen more often.
    epochs = min(30, max(3, (150_000 if size <= 32 else 75_000) // found.train))
    whole = replace(training, epochs=epochs)
    part = replace(training, epochs=max(30, min(100, 2000 // classes)))
    values = {
        "generator.blocks": 3 if small else 4,
        "generator.heads": 3 if small else 4,
        "generator.patch_size": patch_for(size),
        "generator.steps": 2500,
        "generator.learning_rate": 4e-3,
        "generator.prediction": "sample",
        "generator.align": "auto",
        "generator.precision": "auto",
        "reference.training": whole,
        "judge.training": whole,
        "influence.surrogate.classifier.training": whole,
        "learner.training": part,
        "evaluation.classifier.training": part,
        "guidance.strength": weaker(0.45, found),
        "guidance.deviation": weaker(0.1, found),
        "influence.strength": weaker(0.3, found),
        "influence.deviation": weaker(0.3, found),
        "stages.increments": max(1, min(5, found.smallest // 2)),
        "evaluation.seeds": 3,
        "evaluation.redundancy_seeds": 2,
        "evaluation.evaluations": 5 if found.test <= 2000 else 2,
    }
    return with_values(Config(name=AUTOMATIC, minutes=MINUTES, dataset=found.dataset), values)


def weaker(strength: float, found: Survey) -> float:
    """Scale a strength of guidance, tuned on the 64 values of digits, to this number of values.

    It is a length in units of the noise's, which has all directions; the sample moves along one.
    """
    values = found.dataset.channels * found.dataset.size**2
    return round(strength * min(1.0, (64 / values) ** 0.5), 4)


def patch_for(size: int, most: int = MOST_PATCHES) -> int:
    """Return the smallest patch, from 2, that cuts a side of `size` into at most `most` patches; 1 if there is none."""
    fitting = (patch for patch in range(2, size // 2 + 1) if size % patch == 0 and size // patch <= most)
    return next(fitting, 1)
