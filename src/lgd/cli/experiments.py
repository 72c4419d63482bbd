"""The commands that run experiments and read their results. Each imports torch and the like only when it is run."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from tyro.conf import Positional, UseAppendAction, arg

from lgd.config import Config
from lgd.errors import Failure, IncompleteError
from lgd.progress import log
from lgd.storage.files import write_text

from .options import Fields, Output, Quiet, SetOptions


@dataclass(frozen=True)
class DistillOptions(SetOptions, Output):
    """Make a synthetic set and evaluate it. The same command continues an interrupted run."""

    out: str
    """Run directory, or a URL such as s3://bucket/run."""
    tensorboard: bool = False
    """Write TensorBoard scalars into the run directory, too (extra: tensorboard)."""


def distill(options: DistillOptions) -> None:
    from lgd.experiments.distill import distill
    from lgd.report.events import check_tensorboard, write_scalars

    if options.tensorboard:
        check_tensorboard()
    run = distill(options.config, options.out, options.overwrite)
    if options.tensorboard:
        write_scalars(run.root)


@dataclass(frozen=True)
class CompareOptions(SetOptions, Output):
    """Run several methods on the same generator, reference and seeds, and print a table."""

    methods: tuple[str, ...]
    """Names of the methods to compare; an unknown name prints the list."""
    out: str
    """Directory or URL of the runs and of comparison.json and comparison.md."""
    runs: int = 3
    """Number of runs per method, each with its own seed."""


def compare(options: CompareOptions) -> None:
    from lgd.experiments.compare import compare_methods

    comparison, text = compare_methods(options.config, options.methods, options.out, options.runs, options.overwrite)
    print(text, end="")
    reduction = comparison["redundancy_reduction_vs_dit"]
    if reduction is not None:
        above = comparison["redundancy_reduction_above_chance_vs_dit"]
        whole = f"redundancy of lgd against dit: {0 - reduction:+.1f} %"
        print(whole if above is None else f"{whole}, above chance {0 - above:+.1f} %")
    if comparison["failures"]:
        raise IncompleteError([Failure(**failure) for failure in comparison["failures"]])


@dataclass(frozen=True)
class SelectOptions(Output):
    """Select real images of each class, without a generator. The same command continues an interrupted selection."""

    in_preset: ClassVar = {"method": "auto"}
    """As in `Quiet`."""
    out: str
    """Directory or URL of the selected images, which lie in its folder dataset."""
    per_class: Annotated[int, arg(aliases=("--ipc",))] = 10
    """Number of images to select of each class."""
    config: Fields = field(default_factory=Config)
    """The configuration, of which selection reads dataset, method, seed, reference, learner and compute."""


def select(options: SelectOptions) -> None:
    from lgd.experiments.select import select_into, selecting

    config = selecting(options.config, options.per_class)
    found = select_into(config, options.out, options.overwrite)
    classes = len(found.class_names)
    print(f"{options.out}/dataset: {len(found)} real images of {classes} classes by {config.method}")


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


def evaluate(options: EvaluateOptions) -> None:
    from lgd.evaluation.dd_ranking import Ranking
    from lgd.evaluation.tables import plus_minus
    from lgd.experiments.evaluate import evaluate
    from lgd.storage.files import write_json

    given = {
        "compute.engine": options.engine,
        "compute.address": options.address,
        "evaluation.epochs_factor": options.epochs_factor,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    ranking = Ranking(options.real_accuracy) if options.dd_ranking else None
    result = evaluate(options.dataset, options.test, options.seeds, changes, options.out, ranking)
    if options.json is not None:
        write_json(options.json, result)
    print(f"accuracy on {result['test_images']} real test images of {result['test']}, after training on the set alone:")
    for name, last in result["architectures"].items():
        best = last["best"]
        print(
            f"{name}: {plus_minus(last, 2)} % over {last['n']} seeds after the last epoch; best {plus_minus(best, 2)} %"
        )
    for name, card in (result["stated"] or {}).items():
        held = {None: "one classifier has no interval", True: "it lies there", False: "it does not lie there"}
        ends = "" if card["low"] is None else f"{card['low']:.1f} to {card['high']:.1f} %"
        between = f", {options.seeds} new classifiers {ends}" if ends else ""
        print(f"{name}: the card states {card['mean']:.1f} %{between}: {held[card['within']]}")
    for name, ranking in result.get("dd_ranking", {}).items():
        lrs, ars = (" and ".join(plus_minus(ranking[at][score]) for at in ("last", "best")) for score in ("lrs", "ars"))
        print(f"{name}: DD-Ranking at the last and the best: label-robust {lrs} %, augmentation-robust {ars} %")


@dataclass(frozen=True)
class AblateOptions(SetOptions, Output):
    """Compare every combination of some fields' values, sharing the generator and the reference where they agree."""

    over: UseAppendAction[tuple[str, ...]]
    """FIELD=VALUE,VALUE,...: a field of the configuration and its values; may be given several times."""
    out: str
    """Directory or URL of the runs and of ablation.json, .md, .csv and .tex."""
    runs: int = 3
    """Number of runs per combination, each with its own seed."""


def ablate(options: AblateOptions) -> None:
    from lgd.experiments.ablate import ablate

    result, text = ablate(options.config, options.over, options.out, options.runs, options.overwrite)
    print(text, end="")
    if result["failures"]:
        raise IncompleteError([Failure(**failure) for failure in result["failures"]])


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


def analyze(options: AnalyzeOptions) -> None:
    from lgd.analysis.context import AnalysisConfig
    from lgd.analysis.registry import analysis_table
    from lgd.execution.hardware import worker_count
    from lgd.experiments.analyze import analyze
    from lgd.report.plots import write_figures

    settings = AnalysisConfig(options.seeds, options.epochs, options.increments, options.split_seed)
    workers = options.workers or worker_count(Config().compute)
    found = analyze(options.sets, options.out, options.test, settings, workers, options.overwrite)
    write_figures(options.out)
    text = analysis_table(found)
    write_text(options.out / "analysis.md", text)
    print(text, end="")


@dataclass(frozen=True)
class ReferenceOptions(Output):
    """Train the reference alone; --reference.weights OUT/reference.safetensors then uses it in a run."""

    out: str
    """Directory or URL of reference.safetensors and metrics.json."""
    config: Fields = field(default_factory=Config)
    """The configuration, of which the reference reads dataset, reference and compute."""


def reference_train(options: ReferenceOptions) -> None:
    from lgd.experiments.prepare import train_reference

    metrics = train_reference(options.config, options.out, options.overwrite)
    print(f"{options.out}/reference.safetensors: {metrics['accuracy']:.2f} % of {metrics['images']} test images")


@dataclass(frozen=True)
class ReportOptions(Output):
    """Write one self-contained HTML file about runs or compare directories."""

    runs: Positional[tuple[Path, ...]]
    """Runs, or directories of compare or ablate; one or more."""
    out: Path
    """HTML file to write."""
    analysis: Path | None = None
    """Directory written by `lgd analyze`, whose figures and numbers are included."""


def report(options: ReportOptions) -> None:
    from lgd.report.html import write_report

    write_report(options.runs, options.out, options.analysis, options.overwrite)
    log.info(f"{options.out}: {options.out.stat().st_size / 2**20:.1f} MB")


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


def export(options: ExportOptions) -> None:
    from lgd.export import export

    export(options.run, options.to, options.out, options.overwrite, options.push, options.statistics)


@dataclass(frozen=True)
class StatusOptions:
    """Show which work of a run, a comparison or an ablation is done, which is next, and about how long it takes."""

    run: Positional[Path]
    """Run, or directory of compare or ablate."""


def status(options: StatusOptions) -> None:
    from lgd.experiments.status import status

    print(status(options.run), end="")
