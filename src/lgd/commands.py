"""The commands and their options, which tyro reads off the dataclasses. What is heavy is imported when it is run."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tyro
from tyro.conf import Positional, arg

from .automatic import is_source, load_config
from .config import Config, DatasetConfig
from .console import Console
from .errors import Failure, IncompleteError, UserError
from .files import write_text

Fields = Annotated[Config, arg(name="")]
"""Every field of the configuration, as an option with its dotted name."""

T = TypeVar("T")


@dataclass(frozen=True)
class OnlyDataset:
    """The part of the configuration that says which images there are."""

    dataset: DatasetConfig = field(default_factory=DatasetConfig)


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
    to: Literal["imagefolder", "hf", "parquet", "webdataset", "pt"]
    """hf: for datasets.load_dataset("imagefolder"); pt: tensors for DD-Ranking"""
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


def distill(arguments: Sequence[str]) -> int:
    preset, config, rest = preset_first("distill", arguments)
    options = parse(DistillOptions, f"lgd distill {preset}", rest, DistillOptions(tyro.MISSING, config=config))
    from .pipeline import distill
    from .report.tensorboard import check_tensorboard, write_scalars

    if options.tensorboard:
        check_tensorboard()
    run = distill(options.config, options.out, options.overwrite, Console(options.quiet))
    if options.tensorboard:
        write_scalars(run.root)
    return 0


def compare(arguments: Sequence[str]) -> int:
    preset, config, rest = preset_first("compare", arguments)
    default = CompareOptions(tyro.MISSING, tyro.MISSING, config=config)
    options = parse(CompareOptions, f"lgd compare {preset}", rest, default)
    from .comparison import compare_methods

    console = Console(options.quiet)
    comparison, text = compare_methods(
        options.config, options.methods, options.out, options.runs, options.overwrite, console
    )
    print(text, end="")
    reduction = comparison["redundancy_reduction_vs_dit"]
    if reduction is not None:
        print(f"redundancy of lgd against dit: {-reduction:+.1f} %")
    if comparison["failures"]:
        raise IncompleteError([Failure(**failure) for failure in comparison["failures"]])
    return 0


def evaluate(arguments: Sequence[str]) -> int:
    options = parse(EvaluateOptions, "lgd evaluate", arguments)
    from .pipeline import evaluate

    console = Console(options.quiet)
    compute = load_config(options.test).compute
    compute = replace(compute, engine=options.engine or compute.engine, address=options.address or compute.address)
    result = evaluate(
        options.dataset, options.test, options.seeds, options.json, console, options.epochs_factor, compute, options.out
    )
    for name, last in result["architectures"].items():
        best = last["best"]
        print(
            f"{name}: {last['mean']:.2f} ± {last['std']:.2f} % over {last['n']} seeds after the last epoch;"
            f" best {best['mean']:.2f} ± {best['std']:.2f} %"
        )
    return 0


def ablate(arguments: Sequence[str]) -> int:
    preset, config, rest = preset_first("ablate", arguments)
    default = AblateOptions(tyro.MISSING, tyro.MISSING, config=config)
    options = parse(AblateOptions, f"lgd ablate {preset}", rest, default)
    from .ablation import ablate

    result, text = ablate(
        options.config, options.over, options.out, options.runs, options.overwrite, Console(options.quiet)
    )
    print(text, end="")
    if result["failures"]:
        raise IncompleteError([Failure(**failure) for failure in result["failures"]])
    return 0


def analyze(arguments: Sequence[str]) -> int:
    options = parse(AnalyzeOptions, "lgd analyze", arguments)
    from .analysis.analyze import analyze
    from .analysis.study import Settings
    from .analysis.table import analysis_table
    from .report.analysis import write_figures
    from .runtime import worker_count

    settings = Settings(options.seeds, options.epochs, options.increments, options.split_seed)
    workers = options.workers or worker_count(Config())
    console = Console(options.quiet)
    found = analyze(options.sets, options.out, options.test, settings, workers, options.overwrite, console)
    write_figures(options.out)
    text = analysis_table(found)
    write_text(options.out / "analysis.md", text)
    print(text, end="")
    return 0


def report(arguments: Sequence[str]) -> int:
    options = parse(ReportOptions, "lgd report", arguments)
    from .report.html import write_report

    console = Console(options.quiet)
    write_report(options.runs, options.out, options.analysis, options.overwrite, console)
    console.say(f"{options.out}: {options.out.stat().st_size / 2**20:.1f} MB")
    return 0


def reference(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] != "train":
        raise UserError("lgd reference knows one verb: lgd reference train PRESET_OR_TOML --out DIR")
    preset, config, rest = preset_first("reference train", arguments[1:])
    options = parse(
        ReferenceOptions, f"lgd reference train {preset}", rest, ReferenceOptions(tyro.MISSING, config=config)
    )
    from .pipeline import train_reference

    metrics = train_reference(options.config, options.out, options.overwrite, Console(options.quiet))
    print(f"{options.out}/reference.safetensors: {metrics['accuracy']:.2f} % of {metrics['images']} test images")
    return 0


def export(arguments: Sequence[str]) -> int:
    options = parse(ExportOptions, "lgd export", arguments)
    from .export import export

    export(options.run, options.to, options.out, options.overwrite, options.push, Console(options.quiet))
    return 0


def status(arguments: Sequence[str]) -> int:
    options = parse(StatusOptions, "lgd status", arguments)
    from .report.status import status

    print(status(options.run), end="")
    return 0


def generator(arguments: Sequence[str]) -> int:
    from .generator_commands import generator

    return generator(arguments)


def bench(arguments: Sequence[str]) -> int:
    from .speed_commands import bench

    return bench(arguments)


def plan(arguments: Sequence[str]) -> int:
    from .speed_commands import plan

    return plan(arguments)


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "distill": distill,
    "compare": compare,
    "evaluate": evaluate,
    "ablate": ablate,
    "analyze": analyze,
    "reference": reference,
    "report": report,
    "export": export,
    "status": status,
    "generator": generator,
    "bench": bench,
    "plan": plan,
}


SHORT = {
    "--epochs-factor": "--evaluation.epochs-factor",
    "--skip-broken": "--dataset.skip-broken",
    "--engine": "--compute.engine",
    "--address": "--compute.address",
}
"""other spellings of options"""


def preset_first(command: str, arguments: Sequence[str]) -> tuple[str, Any, list[str]]:
    """Split off the preset, which decides the defaults of every other option."""
    options = (argument.partition("=") for argument in arguments)
    arguments = [SHORT.get(name, name) + equals + value for name, equals, value in options]
    if arguments and not arguments[0].startswith("-"):
        name, *rest = arguments
        dataset = dataset_options(rest) if is_source(name) else None
        return name, load_config(name, dataset, Console("--quiet" in rest)), rest
    if any(word in ("-h", "--help") for word in arguments):
        return "PRESET_OR_TOML", load_config("digits"), list(arguments)
    raise UserError(f"{command} needs a preset, a .toml file or folder:PATH first: lgd {command} digits --out RUN")


def dataset_options(arguments: Sequence[str]) -> DatasetConfig:
    """How to read the images, of which the defaults of the other options depend. Errors: UserError."""
    plain = [argument for argument in arguments if argument not in ("-h", "--help")]
    return one_line(lambda: tyro.cli(OnlyDataset, args=plain, return_unknown_args=True)[0].dataset)


def parse(options: type[T], program: str, arguments: Sequence[str], default: T | None = None) -> T:
    """tyro's reading of the arguments. Its boxed error becomes one line. Errors: UserError."""
    return one_line(lambda: tyro.cli(options, prog=program, args=list(arguments), default=default))  # type: ignore


def one_line(read: Callable[[], T]) -> T:
    """What tyro reads, its boxed error made one line. Errors: UserError."""
    boxed = io.StringIO()
    try:
        with contextlib.redirect_stderr(boxed):
            return read()
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        lines = [line.strip(" │╭╮╰╯─") for line in boxed.getvalue().splitlines()]
        words = " ".join(
            line for line in lines[1:] if line.strip("-") and "helptext" not in line and "--help" not in line
        )
        raise UserError(words or lines[0]) from None
