"""The commands that run experiments and read their results. Each imports torch and the like only when it is run."""

from collections.abc import Sequence

from lgd.config import Config
from lgd.errors import Failure, IncompleteError, UserError
from lgd.progress import log
from lgd.storage.files import write_text

from .options import (
    AblateOptions,
    AnalyzeOptions,
    CompareOptions,
    DistillOptions,
    EvaluateOptions,
    ExportOptions,
    ReferenceOptions,
    ReportOptions,
    StatusOptions,
)
from .parsing import parse, parse_with_preset


def distill(arguments: Sequence[str]) -> int:
    options = parse_with_preset(DistillOptions, "distill", arguments)
    from lgd.experiments.distill import distill
    from lgd.report.tensorboard import check_tensorboard, write_scalars

    if options.tensorboard:
        check_tensorboard()
    run = distill(options.config, options.out, options.overwrite)
    if options.tensorboard:
        write_scalars(run.root)
    return 0


def compare(arguments: Sequence[str]) -> int:
    options = parse_with_preset(CompareOptions, "compare", arguments)
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
    return 0


def evaluate(arguments: Sequence[str]) -> int:
    options = parse(EvaluateOptions, "lgd evaluate", arguments)
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
    return 0


def ablate(arguments: Sequence[str]) -> int:
    options = parse_with_preset(AblateOptions, "ablate", arguments)
    from lgd.experiments.ablate import ablate

    result, text = ablate(options.config, options.over, options.out, options.runs, options.overwrite)
    print(text, end="")
    if result["failures"]:
        raise IncompleteError([Failure(**failure) for failure in result["failures"]])
    return 0


def analyze(arguments: Sequence[str]) -> int:
    options = parse(AnalyzeOptions, "lgd analyze", arguments)
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
    return 0


def report(arguments: Sequence[str]) -> int:
    options = parse(ReportOptions, "lgd report", arguments)
    from lgd.report.html import write_report

    write_report(options.runs, options.out, options.analysis, options.overwrite)
    log.info(f"{options.out}: {options.out.stat().st_size / 2**20:.1f} MB")
    return 0


def reference(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] != "train":
        raise UserError("lgd reference has one verb: lgd reference train PRESET_OR_TOML --out DIR")
    options = parse_with_preset(ReferenceOptions, "reference train", arguments[1:])
    from lgd.experiments.train_reference import train_reference

    metrics = train_reference(options.config, options.out, options.overwrite)
    print(f"{options.out}/reference.safetensors: {metrics['accuracy']:.2f} % of {metrics['images']} test images")
    return 0


def export(arguments: Sequence[str]) -> int:
    options = parse(ExportOptions, "lgd export", arguments)
    from lgd.export import export

    export(options.run, options.to, options.out, options.overwrite, options.push, options.statistics)
    return 0


def status(arguments: Sequence[str]) -> int:
    options = parse(StatusOptions, "lgd status", arguments)
    from lgd.experiments.status import status

    print(status(options.run), end="")
    return 0
