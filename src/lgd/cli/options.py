"""The options of the commands, which tyro reads off these dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional, arg

from lgd.config import Config

Fields = Annotated[Config, arg(name="")]
"""Every field of the configuration, as an option with its dotted name."""


@dataclass(frozen=True)
class DistillOptions:
    """Grow a synthetic set and judge it. The same command on an interrupted run continues it."""

    out: str
    """run directory, or a URL such as s3://bucket/run"""
    overwrite: bool = False
    """empty the run directory first"""
    quiet: bool = False
    tensorboard: bool = False
    """also write TensorBoard scalars into the run directory (extra: tensorboard)"""
    config: Fields = field(default_factory=Config)


@dataclass(frozen=True)
class CompareOptions:
    """Run several methods on the same generator, reference and seeds, and print a table."""

    methods: tuple[str, ...]
    out: str
    """directory or URL of the sub-runs and of comparison.json and comparison.md"""
    runs: int = 3
    """seeds per method"""
    overwrite: bool = False
    """empty the directory first"""
    quiet: bool = False
    config: Fields = field(default_factory=Config)


@dataclass(frozen=True)
class EvaluateOptions:
    """Train fresh classifiers on a folder of <class>/*.png and report their accuracy on a preset's test set."""

    dataset: Positional[str]
    """image folder or run, a directory or a URL"""
    test: str
    """preset or TOML file whose test set and evaluation settings judge"""
    seeds: int = 5
    epochs_factor: float | None = None
    """multiplies the protocol's epochs, in place of the preset's factor"""
    json: Path | None = None
    """also write the result here"""
    out: str | None = None
    """directory or URL that keeps what is finished; the same command continues"""
    engine: Literal["local", "ray"] | None = None
    """where it runs, in place of the preset's: processes on this machine, or a Ray cluster (docs/scaling.md)"""
    address: str | None = None
    """of the Ray cluster, in place of the preset's: auto, HOST:PORT or local"""
    quiet: bool = False


@dataclass(frozen=True)
class AblateOptions:
    """Compare every combination of some fields' values, on one generator and reference wherever these are the same."""

    over: tyro.conf.UseAppendAction[tuple[str, ...]]
    """FIELD=VALUE,VALUE,...: a field of the configuration and its values; may be given several times"""
    out: str
    """directory or URL of the cells and of ablation.json, .md, .csv and .tex"""
    runs: int = 3
    """seeds per combination"""
    overwrite: bool = False
    """empty the directory first"""
    quiet: bool = False
    config: Fields = field(default_factory=Config)


@dataclass(frozen=True)
class AnalyzeOptions:
    """Measure what the parts of sets repeat and teach: runs, compare directories, or folders of <class>/*.png."""

    sets: Positional[tuple[Path, ...]]
    """one or more"""
    out: Path
    """directory of analysis.json and the figures; the same command continues an interrupted analysis"""
    test: str | None = None
    """preset or TOML file that names the real images, for plain folders"""
    seeds: int = 3
    """fresh classifiers for every training"""
    epochs: int = 50
    """of the learning dynamics, and of each stage of incremental training"""
    increments: int = 5
    """parts that a plain folder is split into"""
    split_seed: int = 0
    """of that split"""
    workers: int = 0
    """processes; 0: one per core on CPU, one on a GPU"""
    overwrite: bool = False
    """empty the directory first"""
    quiet: bool = False


@dataclass(frozen=True)
class ReportOptions:
    """Write one self-contained HTML file about runs or compare directories."""

    runs: Positional[tuple[Path, ...]]
    """one or more"""
    out: Path
    """the HTML file"""
    analysis: Path | None = None
    """directory written by `lgd analyze`, whose figures and numbers to include"""
    overwrite: bool = False
    """replace an existing file"""
    quiet: bool = False


@dataclass(frozen=True)
class ExportOptions:
    """Copy a run's dataset into a format that other software reads, with a dataset card."""

    run: Positional[Path]
    """a finished run"""
    to: str
    """format, one of those above"""
    out: Path
    """directory to make"""
    overwrite: bool = False
    """replace an existing one"""
    push: str | None = None
    """also upload to this dataset repository of the Hugging Face Hub"""
    quiet: bool = False


@dataclass(frozen=True)
class StatusOptions:
    """What is done in a run or compare directory, what is next, and about how long it takes."""

    run: Positional[Path]


@dataclass(frozen=True)
class ReferenceOptions:
    """Train the reference alone; --reference.weights OUT/reference.safetensors uses it elsewhere."""

    out: str
    """directory or URL of reference.safetensors and metrics.json"""
    overwrite: bool = False
    """empty the directory first"""
    quiet: bool = False
    config: Fields = field(default_factory=Config)
