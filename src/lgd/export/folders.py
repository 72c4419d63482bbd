"""One PNG file per image in one folder per class: for torchvision's ImageFolder and for `datasets`."""

from __future__ import annotations

from pathlib import Path

from lgd.storage.files import copy_file, write_json

from .samples import Advance, Export, write_order


def write_imagefolder(export: Export, root: Path, advance: Advance) -> str:
    """Write <class>/*.png, order.csv and classes.json, which holds the names in the order of the labels."""
    _write(export, root, "order.csv", advance)
    return "One folder per class, as torchvision's `ImageFolder` reads; `classes.json` lists the classes by label."


def write_hf(export: Export, root: Path, advance: Advance) -> str:
    """Write an image folder with metadata.csv, where `datasets` finds the labels."""
    _write(export, root, "metadata.csv", advance)
    return '`datasets.load_dataset("imagefolder", data_dir="PATH")`: columns image, label and class_name, among others.'


def _write(export: Export, root: Path, table: str, advance: Advance) -> None:
    for sample in export.samples:
        copy_file(sample.path, root / sample.file)
        advance()
    if export.logits is not None:
        copy_file(export.run / "dataset" / "soft_labels.safetensors", root / "soft_labels.safetensors")
    write_order(export, root / table)
    write_json(root / "classes.json", list(export.class_names))
