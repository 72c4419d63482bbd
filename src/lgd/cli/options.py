"""The options of the commands: tyro makes each command line from one of these dataclasses."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional, arg

from lgd.config import Config

Fields = Annotated[Config, arg(name="")]
"""Every field of the configuration, as an option with its dotted name."""


@dataclass(frozen=True, kw_only=True)
class Quiet:
    """The option of every command that takes a while."""

    quiet: bool = False
    """Print warnings, errors and the result only."""


@dataclass(frozen=True, kw_only=True)
class Output(Quiet):
    """The options of commands that write a file or a directory."""

    overwrite: bool = False
    """Empty the directory first, or replace the file."""


@dataclass(frozen=True, kw_only=True)
class SetOptions(Quiet):
    """The options of commands that make a set, or plan one."""

    per_class: Annotated[int | None, arg(aliases=("--ipc",))] = None
    """Images per class of the whole set, in equal parts over the increments. Default: increments times
    stages.images_per_increment."""
    config: Fields = field(default_factory=Config)
    """The configuration of every run."""


@dataclass(frozen=True)
class DistillOptions(SetOptions, Output):
    """Make a synthetic set and evaluate it. The same command continues an interrupted run."""

    out: str
    """Run directory, or a URL such as s3://bucket/run."""
    tensorboard: bool = False
    """Write TensorBoard scalars into the run directory, too (extra: tensorboard)."""


@dataclass(frozen=True)
class CompareOptions(SetOptions, Output):
    """Run several methods on the same generator, reference and seeds, and print a table."""

    methods: tuple[str, ...]
    """Names of the methods to compare; an unknown name prints the list."""
    out: str
    """Directory or URL of the runs and of comparison.json and comparison.md."""
    runs: int = 3
    """Number of runs per method, each with its own seed."""


@dataclass(frozen=True)
class EvaluateOptions(Quiet):
    """Train fresh classifiers on a run's set or a folder of <class>/*.png; report their accuracy on real images."""

    dataset: Positional[str]
    """Image folder or run: a directory or a URL."""
    test: str | None = None
    """Preset or TOML file that gives the test set and the evaluation settings. Default: those of the run."""
    seeds: int = 5
    """Number of classifiers to train per architecture."""
    epochs_factor: float | None = None
    """Factor on the protocol's epochs. Default: the preset's."""
    json: Path | None = None
    """File to which the result is written, too."""
    out: str | None = None
    """Directory or URL that keeps finished classifiers; the same command then continues after an interruption."""
    dd_ranking: bool = False
    """Also print DD-Ranking's label-robust and augmentation-robust scores (docs/protocols.md), which take three to five
    more classifiers per seed."""
    real_accuracy: float | None = None
    """Accuracy in percent of a classifier trained on all real images, for the label-robust score. Default: measured."""
    engine: Literal["local", "ray"] | None = None
    """Engine that runs the work: local (processes on this machine) or ray (a Ray cluster; docs/scaling.md). Default:
    the preset's."""
    address: str | None = None
    """Address of the Ray cluster: auto, HOST:PORT or local. Default: the preset's."""


@dataclass(frozen=True)
class AblateOptions(SetOptions, Output):
    """Compare every combination of some fields' values, sharing the generator and the reference where they agree."""

    over: tyro.conf.UseAppendAction[tuple[str, ...]]
    """FIELD=VALUE,VALUE,...: a field of the configuration and its values; may be given several times."""
    out: str
    """Directory or URL of the runs and of ablation.json, .md, .csv and .tex."""
    runs: int = 3
    """Number of runs per combination, each with its own seed."""


@dataclass(frozen=True)
class AnalyzeOptions(Output):
    """Analyse runs, compare directories, or folders of <class>/*.png: redundancy, learning dynamics, validity, ..."""

    sets: Positional[tuple[Path, ...]]
    """Runs, compare directories or image folders; one or more."""
    out: Path
    """Directory of analysis.json and the figures. The same command continues an interrupted analysis."""
    test: str | None = None
    """Preset or TOML file that names the real images, for plain image folders."""
    seeds: int = 3
    """Number of fresh classifiers per training."""
    epochs: int = 50
    """Number of epochs of the learning dynamics, and of each stage of incremental training."""
    increments: int = 5
    """Number of parts into which a plain image folder is split."""
    split_seed: int = 0
    """Seed of that split."""
    workers: int = 0
    """Number of processes. 0: one per core on the CPU, one on a GPU."""


@dataclass(frozen=True)
class ReportOptions(Output):
    """Write one self-contained HTML file about runs or compare directories."""

    runs: Positional[tuple[Path, ...]]
    """Runs, or directories of compare or ablate; one or more."""
    out: Path
    """HTML file to write."""
    analysis: Path | None = None
    """Directory written by `lgd analyze`, whose figures and numbers are included."""


@dataclass(frozen=True)
class ExportOptions(Output):
    """Copy a run's dataset into a format that other software reads, with a dataset card."""

    run: Positional[Path]
    """Directory of a finished run."""
    to: str
    """Format, one of those listed above."""
    out: Path
    """Directory to write."""
    push: str | None = None
    """Dataset repository of the Hugging Face Hub to which the result is uploaded, too."""
    statistics: str = ""
    """Mean and standard deviation that normalise the tensors of pt: cifar, imagenet, none, or numbers per channel as
    MEAN,MEAN,MEAN/STD,STD,STD. Empty: those of the data set."""


@dataclass(frozen=True)
class StatusOptions:
    """Show which work of a run, a comparison or an ablation is done, which is next, and about how long it takes."""

    run: Positional[Path]
    """Run, or directory of compare or ablate."""


@dataclass(frozen=True)
class ReferenceOptions(Output):
    """Train the reference alone; --reference.weights OUT/reference.safetensors then uses it in a run."""

    out: str
    """Directory or URL of reference.safetensors and metrics.json."""
    config: Fields = field(default_factory=Config)
    """The configuration, of which the reference reads dataset, reference and compute."""
