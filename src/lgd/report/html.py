"""One self-contained HTML page about runs, which needs no network."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from lgd import __version__
from lgd.analysis.measure import styles_of
from lgd.analysis.registry import MEASURES, table_rows
from lgd.data.part_names import title_of
from lgd.distillation.methods import METHODS
from lgd.distillation.store import read_manifest
from lgd.errors import UserError, reading
from lgd.evaluation.comparison_tables import COPIES, copied, difference_table
from lgd.evaluation.intervals import paired_differences
from lgd.evaluation.tables import Table
from lgd.progress import progress_bar
from lgd.storage.files import read_json, write_text

from . import plots
from .finished_runs import FinishedRun, averaged, by_method, read_runs
from .gallery import WALL_CLASSES, gallery
from .reproduce import command, command_of_all
from .thumbnails import data_uri

ACCURACY = (
    "Accuracy by images per class",
    "Higher is better: accuracy on real test images of fresh classifiers trained only on the set so far; bars are one"
    " standard deviation.",
)
SCORES = (
    "Learnability of the kept images",
    "How much each kept image had to teach when it was sampled; rows that shrink to the left mean that later increments"
    " found less that is new.",
)

CONFUSION = (
    "Classes taken for each other",
    "Rows are the true classes of real test images, columns the answers of classifiers trained on the whole set. A dark"
    " field off the diagonal is a pair of classes that the set does not tell apart.",
)


def write_report(paths: Sequence[Path], out: Path, analysis: Path | None, overwrite: bool) -> None:
    """Write the page about runs and compare directories to `out`.

    analysis: directory of `lgd analyze`; by default one named `analysis` in the first path. Errors: UserError.
    """
    if out.is_dir():
        raise UserError(f"{out} is a directory; --out names the HTML file")
    if out.suffix.lower() not in ("", ".html", ".htm"):
        raise UserError(f"{out}: the report is one HTML page; name it {out.with_suffix('.html')}, and print it to PDF")
    if out.exists() and not overwrite:
        raise UserError(f"{out} exists; choose another --out, or --overwrite")
    if analysis is None and (paths[0] / "analysis" / "analysis.json").is_file():
        analysis = paths[0] / "analysis"
    with progress_bar(3, "report") as advance, reading(" and ".join(map(str, paths))):
        runs, notes = read_runs(paths)
        advance("gallery")
        data, more = gallery(runs, _judge(runs, analysis))
        advance("figures")
        page = render(runs, data, [*notes, *more], analysis)
        advance("writing")
        write_text(out, page)


def render(runs: Sequence[FinishedRun], data: dict[str, Any], notes: Sequence[str], analysis: Path | None) -> str:
    """Return the page as text. The template escapes all names and values."""
    methods = {name: averaged(own) for name, own in by_method(runs).items()}
    measured = read_json(analysis / "analysis.json") if analysis else None
    environment = Environment(
        loader=PackageLoader("lgd.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    first = runs[0]
    if measured:
        notes = [*notes, *(f"{name}: {note}" for name, one in measured["sets"].items() for note in one["notes"])]
    return environment.get_template("report.html").render(
        title=" and ".join(methods) if len(methods) < 4 else f"{len(methods)} methods",
        version=__version__,
        dataset=title_of(first.config["dataset"]["source"]),
        eval_split=first.config["dataset"]["eval_split"],
        classes=len(first.class_names),
        methods=methods,
        colours={name: style.colour for name, style in styles_of(methods).items()},
        best=best_values(methods),
        copies={name: copied(method) for name, method in methods.items()},
        copies_caption=COPIES,
        summaries={name: METHODS[name].summary for name in methods if name in METHODS},
        differences=difference_rows(runs),
        per_class=class_rows(methods, first.class_names),
        ipcs=sorted({int(ipc) for method in methods.values() for ipc in method["accuracy"]}),
        reference=first.metrics["reference"]["accuracy"],
        judge=first.metrics["judge"],
        chance=next((method["chance"] for method in methods.values() if method["chance"] is not None), None),
        figures=_figures(runs, methods, analysis),
        analysis_rows=table_rows(measured) if measured else [],
        measures=[measure for measure in MEASURES.values() if not measure.plot],
        groups=list(measured["groups"]) if measured else [],
        data=data,
        notes=notes,
        wall_classes=WALL_CLASSES,
        together=command_of_all([run.config for run in runs], list(methods), "again"),
        runs=[
            {
                "name": run.path.name,
                "command": command(run.config, run.path.name),
                "config": json.dumps(run.config, indent=1, ensure_ascii=False),
                "environment": run.environment,
                "calibration": run.metrics.get("calibration"),
            }
            for run in runs
        ],
    )


def best_values(methods: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return the best mean accuracy by IPC, the lowest redundancy and the highest validity, if methods compete."""
    if len(methods) < 2:
        return {}
    ipcs = {ipc for method in methods.values() for ipc in method["accuracy"]}
    found = {
        ipc: max(method["accuracy"][ipc]["mean"] for method in methods.values() if ipc in method["accuracy"])
        for ipc in ipcs
    }
    known = [method["redundancy"] for method in methods.values() if method["redundancy"] is not None]
    return {
        **found,
        **({"redundancy": min(known)} if known else {}),
        "validity": max(method["validity"] for method in methods.values()),
    }


def difference_rows(runs: Sequence[FinishedRun]) -> Table | None:
    """Return the table of paired differences between methods; None for a single method."""
    metrics = {name: [run.metrics for run in own] for name, own in by_method(runs).items()}
    if len(metrics) < 2:
        return None
    averages = {name: averaged(own) for name, own in by_method(runs).items()}
    return difference_table({"methods": averages, "differences": paired_differences(metrics)})


def class_rows(methods: Mapping[str, Mapping[str, Any]], class_names: Sequence[str]) -> list[list[str]]:
    """Return a row per class: its name and, of each method with confusion counts, the accuracy in percent."""
    known = [method["confusion"] for method in methods.values()]
    if not all(known):
        return []
    return [
        [name, *(f"{100 * counts[k][k] / max(1, sum(counts[k])):.1f}" for counts in known)]
        for k, name in enumerate(class_names)
    ]


def _judge(runs: Sequence[FinishedRun], analysis: Path | None) -> Path | None:
    path = runs[0].path.resolve()
    folders = [path, path.parent, *([analysis] if analysis else [])]
    return next((f / "judge.safetensors" for f in folders if (f / "judge.safetensors").is_file()), None)


def _figures(
    runs: Sequence[FinishedRun], methods: dict[str, dict[str, Any]], analysis: Path | None
) -> list[dict[str, str | bool]]:
    """Return each figure's name, title, image and the sentence on how to read it."""
    figures: dict[str, Figure] = {"accuracy": plots.accuracy_curves({n: m["accuracy"] for n, m in methods.items()})}
    matrices = {name: m["matrix"] for name, m in methods.items() if m["matrix"]}
    if matrices:
        figures["redundancy"] = plots.redundancy_maps(
            matrices,
            {name: methods[name]["redundancy"] for name in matrices},
            methods[next(iter(matrices))]["chance"],
        )
    scores = _scores(runs)
    if any(scores):
        figures["scores"] = plots.score_histogram(scores)
    if analysis:
        # The run's own redundancy, of its evaluation, goes before the analysis's.
        figures = {**plots.plot_analysis(analysis, list(methods)), **figures}
    confusions = {name: m["confusion"] for name, m in methods.items() if m["confusion"]}
    if confusions:
        figures["confusion"] = plots.confusion_maps(confusions, runs[0].class_names)
    captions = {name: (measure.title, measure.how_to_read) for name, measure in MEASURES.items()}
    captions = {"accuracy": ACCURACY, "confusion": CONFUSION, **captions, "scores": SCORES}
    return [
        {
            "name": name,
            "title": title,
            "wide": figures[name].get_figwidth() > 1.6 * figures[name].get_figheight(),
            "image": data_uri(plots.render(figures[name], "svg"), "svg+xml"),
            "read": sentence,
        }
        for name, (title, sentence) in captions.items()
        if name in figures
    ]


def _scores(runs: Sequence[FinishedRun]) -> list[list[float]]:
    """Return the scores of the kept images by increment, of the first run that has any."""
    for run in runs:
        folders = sorted(path.parent for path in run.path.glob("increments/*/done"))
        scores = [
            [score for row in read_manifest(folder) if (score := row.candidates[row.chosen].score) is not None]
            for folder in folders
        ]
        if any(scores):
            return scores
    return []
