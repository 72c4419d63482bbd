"""The dataset card: README.md with the header that the Hugging Face Hub reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lgd import __version__
from lgd.data.titles import title_of
from lgd.evaluation.tables import plus_minus
from lgd.storage.files import sha256

from .formats import ExportFormat
from .samples import Export

LICENCES = {"digits": "the generator is trained here on scikit-learn's digits (UCI, CC BY 4.0)"}
"""of generators, by dataset; what is not listed depends on the images the generator was trained on"""


def card(export: Export, form: ExportFormat, how_to_read: str, root: Path) -> str:
    """Markdown with a YAML header. root: the finished export, whose files are listed with their SHA-256."""
    config, metrics = export.config, export.metrics
    last = metrics["increments"][-1]
    source = config["dataset"]["source"]
    size = next(name for limit, name in SIZES if len(export.samples) < limit)
    redundancy = (metrics.get("redundancy") or {}).get("mean_off_diagonal")
    settings = {name: config[name] for name in ("guidance", "stages", "sampling", "generator") if name in config}
    licence = LICENCES.get(str(source), "see the terms of the generator's weights and of the images it was trained on")
    header = {
        "pretty_name": f"{_line(title_of(source))} distilled by {_line(config['method'])}",
        "license": "other",
        "task_categories": ["image-classification"],
        "size_categories": [size],
        "tags": ["dataset-distillation", "synthetic", "lgd"],
        **_configs(form),
    }
    lines = [
        "---",
        *(f"{key}: {json.dumps(value)}" for key, value in header.items()),  # JSON is YAML
        "---",
        "",
        f"# {_line(title_of(source))}, distilled by {_line(config['method'])}",
        "",
        f"{len(export.samples)} synthetic training images of {len(export.class_names)} classes"
        f" ({last['ipc']} per class), in {len(metrics['increments'])} increments.",
        "",
        "## Reading it",
        "",
        how_to_read,
        "Soft labels are included, as the teacher's logits."
        if export.logits is not None
        else "Labels are hard; there are no soft labels.",
        "",
        "## Method",
        "",
        f"Method `{_line(config['method'])}`, seed {config['seed']}, lgd {__version__}. Learnability-guided diffusion"
        " grows a set in increments: each is drawn where a learner trained on the set so far still fails and a"
        " reference classifier does not.",
        "",
        f"Generator: a class-conditional diffusion model; licence: {licence}.",
        "",
        "## Scores",
        "",
        "| images per class | accuracy, % | valid, % |",
        "| ---: | ---: | ---: |",
        *(f"| {row['ipc']} | {plus_minus(row['accuracy'])} | {row['validity']:.1f} |" for row in metrics["increments"]),
        "",
        f"Accuracy on the real {_line(config['dataset']['eval_split'])} images, of classifiers trained on this"
        " set alone;"
        f" a classifier trained on all real images reaches {metrics['reference']['accuracy']:.1f} %."
        + ("" if redundancy is None else f" Mean redundancy between increments: {redundancy:.1f} %."),
        "",
        "## Intended use",
        "",
        "Research on dataset distillation, and fast training or tuning of image classifiers. Not a replacement for real"
        " images where errors matter: it inherits the biases of the generator and of the reference classifier.",
        "",
        "## Classes",
        "",
        *(f"{label}. `{_line(name)}`" for label, name in enumerate(export.class_names)),
        "",
        "## Settings",
        "",
        "```json",
        json.dumps(settings, indent=1),
        "```",
        "",
        "Environment: " + ", ".join(f"{name} {_line(value)}" for name, value in export.environment.items()),
        "",
        "## Checksums",
        "",
        *_checksums(form, root),
    ]
    return "\n".join(lines) + "\n"


SIZES = ((1000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**9, "100K<n<1M"))


def _configs(form: ExportFormat) -> dict[str, Any]:
    """Return the header's entry that names the files for the Hub's viewer."""
    files = form.viewer_files
    return {"configs": [{"config_name": "default", "data_files": files}]} if files else {}


def _checksums(form: ExportFormat, root: Path) -> list[str]:
    """List the SHA-256 of every file, but of images only by the table that lists them."""
    table = form.image_table
    files = sorted(path for path in root.rglob("*") if path.is_file() and not (table and path.suffix == ".png"))
    lines = [f"    {sha256(path)}  {path.relative_to(root).as_posix()}" for path in files]
    return [*([f"SHA-256; that of every image is in {table}.", ""] if table else ["SHA-256.", ""]), *lines]


def _line(value: Any) -> str:
    """A name as one line of text that cannot end a code span."""
    return " ".join(str(value).split()).replace("`", "'")
