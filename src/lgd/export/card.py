"""The dataset card: README.md with the header that the Hugging Face Hub reads, from the template card.md."""

import json
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCard, DatasetCardData

from lgd import __version__
from lgd.data.part_names import title_of
from lgd.evaluation.tables import Table, markdown, plus_minus
from lgd.storage.files import sha256

from .formats import ExportFormat
from .parquet import columns_of
from .record import interval_text
from .samples import Export

LICENCES = {"digits": "the generator is trained here on scikit-learn's digits (UCI, CC BY 4.0)"}
"""of generators, by dataset; any other depends on the images that the generator was trained on"""
SIZES = ((1000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**9, "100K<n<1M"))
SETTINGS = ("guidance", "stages", "sampling", "generator")
"""parts of the configuration that are shown"""


def card(export: Export, form: ExportFormat, how_to_read: str, root: Path) -> str:
    """Return Markdown with a YAML header. root: the finished export, whose files are listed with their SHA-256."""
    config, metrics = export.config, export.metrics
    source = str(config["dataset"]["source"])
    title, method = _line(title_of(source)), _line(config["method"])
    files = {"configs": [{"config_name": "default", "data_files": form.viewer_files}]} if form.viewer_files else {}
    header = DatasetCardData(
        pretty_name=f"{title} distilled by {method}",
        license="other",
        task_categories=["image-classification"],
        size_categories=[next(name for limit, name in SIZES if len(export.samples) < limit)],
        tags=["dataset-distillation", "synthetic", "lgd"],
        **({"dataset_info": dataset_info(export)} if form.features else {}),
        **files,
    )
    increments = metrics["increments"]
    shares = ("validity", "reference_validity")
    scores = [
        [str(row["ipc"]), plus_minus(row["accuracy"]), *(f"{row[share]:.1f}" for share in shares)] for row in increments
    ]
    made = DatasetCard.from_template(
        header,
        template_path=str(Path(__file__).with_name("card.md")),
        title=title,
        method=method,
        images=kinds_of(export),
        classes=[_line(name) for name in export.class_names],
        ipc=increments[-1]["ipc"],
        increments=len({sample.increment for sample in export.samples}),  # not all of them are evaluated
        how_to_read=how_to_read,
        soft_labels=export.logits is not None,
        seed=config["seed"],
        version=__version__,
        generator=_line(generator_of(export)),
        scores=markdown(
            Table(
                "scores", "", ["images per class", "accuracy, %", "valid, %", "valid by reference, %"], scores, words=0
            )
        ),
        again=markdown(Table("again", "", ["architecture", "accuracy, %", "interval, %"], repeated(increments[-1]))),
        evaluation=config["evaluation"],
        size=config["dataset"]["size"],
        eval_split=_line(config["dataset"]["eval_split"]),
        reference=metrics["reference"]["accuracy"],
        judge=metrics["judge"],
        redundancy=(metrics.get("redundancy") or {}).get("mean_off_diagonal"),
        settings=json.dumps({name: config[name] for name in SETTINGS if name in config}, indent=1),
        environment=", ".join(f"{name} {_line(value)}" for name, value in export.environment.items()),
        image_table=form.image_table,
        checksums=_checksums(form, root),
    )
    return str(made)


def repeated(last: dict[str, Any]) -> list[list[str]]:
    """Return a row for each architecture: its accuracy, and where that of as many new classifiers lies."""
    return [
        [_line(name), plus_minus(own), interval_text(own["values"], own["n"])]
        for name, own in last["architectures"].items()
    ]


def kinds_of(export: Export) -> str:
    sampled = len(export.samples) - export.real
    if not export.real:
        return f"{sampled} synthetic"
    return f"{export.real} real" if not sampled else f"{sampled} synthetic and {export.real} real"


def generator_of(export: Export) -> str:
    """Return the kind, the name and the licence of the generator: of a source as its record in the run has them."""
    if export.real == len(export.samples):
        return "none; every image is a real one, under the terms of the image set"
    own, images = export.config["generator"]["source"], str(export.config["dataset"]["source"])
    terms = "see the terms of the generator's weights and of the images it was trained on"
    family = export.source.get("family", "class-conditional diffusion transformer (DiT)")
    if not own:
        return f"a {family}; licence: {LICENCES.get(images, terms)}"
    here, before = export.source.get("tuning"), export.source.get("tuned_from")
    tuned = f", tuned on these images {here}" if here else ""
    base = f", tuned from {_public(before[0])} {before[1]}" if before else ""
    return f"{_public(own)}, a {family}{base}{tuned}; licence: {export.source.get('licence') or terms}"


def _public(source: str) -> str:
    """Return a source's name on the Hub, or the last part of its path."""
    name = source.removeprefix("pretrained:")
    on_hub = name.count("/") == 1 and not name.startswith((".", "/", "~"))
    return name if on_hub else Path(name).name


def dataset_info(export: Export) -> dict[str, Any]:
    import datasets

    features = datasets.Features({"image": datasets.Image(), **columns_of(export)})
    return {"features": features._to_yaml_list()}


def _checksums(form: ExportFormat, root: Path) -> list[tuple[str, str]]:
    """Return SHA-256 and name of every file, of images only where no table lists them."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    listed = [path for path in files if not (form.image_table and path.suffix == ".png")]
    return [(sha256(path), path.relative_to(root).as_posix()) for path in listed]


def _line(value: Any) -> str:
    """Return a name as one line of text that cannot end a code span."""
    return " ".join(str(value).split()).replace("`", "'")
