"""One writer per format: each fills an empty directory and says in a sentence how to read it."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lgd.data.folder import decode_image
from lgd.data.imageset import to_float
from lgd.errors import UserError
from lgd.storage.files import copy_file, save_tensors, write_file, write_json, write_text

from .samples import Export, Sample

Advance = Callable[..., None]

SHARD = 10_000  # images in one tar or Parquet file

# What DD-Ranking normalises its real images with; it takes synthetic tensors as they are.
NORMALISATION = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


def write_imagefolder(export: Export, root: Path, advance: Advance) -> str:
    """<class>/*.png and classes.json, which holds the names in the order of the labels."""
    _copy(export, root, advance)
    _order(export, root, "order.csv")
    write_json(root / "classes.json", list(export.class_names))
    return "One folder per class, as torchvision's `ImageFolder` reads; `classes.json` lists the classes by label."


def write_hf(export: Export, root: Path, advance: Advance) -> str:
    """An image folder with metadata.csv, where `datasets` finds the labels."""
    _copy(export, root, advance)
    _order(export, root, "metadata.csv")
    write_json(root / "classes.json", list(export.class_names))
    return '`datasets.load_dataset("imagefolder", data_dir="PATH")`: columns image, label and class_name, among others.'


def write_parquet(export: Export, root: Path, advance: Advance) -> str:
    """data/train-*.parquet with an image column as `datasets` defines it. Errors: UserError without the extra."""
    try:
        import datasets
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise UserError("parquet needs the extra hf: pip install 'lgd[hf]'") from None
    soft = export.soft_labels
    columns: dict[str, Any] = {
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=list(export.class_names)),
        "increment": datasets.Value("int32"),
        "score": datasets.Value("float64"),
    }
    if soft is not None:
        columns["soft_label"] = datasets.Sequence(datasets.Value("float32"))
    schema = datasets.Features(columns).arrow_schema
    shards = _shards(export)
    for number, (start, shard) in enumerate(shards):
        rows = []
        for i, sample in enumerate(shard, start):
            image = {"bytes": sample.path.read_bytes(), "path": sample.file}
            row = {"image": image, "label": sample.label, "increment": sample.increment, "score": sample.score}
            rows.append(row if soft is None else {**row, "soft_label": soft[i].tolist()})
            advance()
        path = root / "data" / f"train-{number:05d}-of-{len(shards):05d}.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return '`datasets.load_dataset("PATH")`: columns image, label, increment and score.'


def write_webdataset(export: Export, root: Path, advance: Advance) -> str:
    """train-NNNNNN.tar with KEY.png, KEY.cls, KEY.json and, for soft labels, KEY.npy; the same bytes every time.

    Scores are in order.csv alone: images of the seed set have none, and readers that take the columns' types from the
    first samples would stumble over the first number.
    """
    import numpy as np

    for number, (start, shard) in enumerate(_shards(export)):
        with tarfile.open(root / f"train-{number:06d}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for i, sample in enumerate(shard, start):
                told = {"class_name": sample.class_name, "increment": sample.increment, "slot": sample.slot}
                members = {
                    "png": sample.path.read_bytes(),
                    "cls": str(sample.label).encode(),
                    "json": json.dumps(told).encode(),
                }
                if export.soft_labels is not None:
                    buffer = io.BytesIO()
                    np.save(buffer, export.soft_labels[i].numpy(), allow_pickle=False)
                    members["npy"] = buffer.getvalue()
                for suffix, content in members.items():
                    entry = tarfile.TarInfo(f"{i:08d}.{suffix}")
                    entry.size = len(content)
                    tar.addfile(entry, io.BytesIO(content))
                advance()
    _order(export, root, "order.csv")
    write_json(root / "classes.json", list(export.class_names))
    return (
        '`datasets.load_dataset("webdataset", data_files="PATH/*.tar")`, `webdataset.WebDataset` and any reader of its'
        " tar files: KEY.png, KEY.cls (the label), KEY.json; `order.csv` has the scores."
    )


def write_pt(export: Export, root: Path, advance: Advance) -> str:
    """images.pt, float32 (N, C, H, W) sorted by class, and labels.pt, as DD-Ranking loads them.

    labels.pt holds soft labels (N, classes) where there are any, else int64 (N,); hard_labels.pt always the latter.
    """
    order = sorted(range(len(export.samples)), key=lambda i: export.samples[i].label)
    images = []
    for i in order:
        images.append(decode_image(export.samples[i].path))
        advance()
    values = to_float(torch.stack(images))
    statistics = normalisation(export)
    if statistics is not None:
        mean, std = (torch.tensor(one).view(1, -1, 1, 1) for one in statistics)
        values = (values - mean) / std
    hard = torch.tensor([export.samples[i].label for i in order])
    soft = hard if export.soft_labels is None else export.soft_labels[order].clone()
    for name, tensor in (("images", values), ("hard_labels", hard), ("labels", soft)):
        write_file(root / f"{name}.pt", partial(_save, tensor))
    write_json(root / "classes.json", list(export.class_names))
    scale = f"normalised by mean {statistics[0]} and std {statistics[1]}" if statistics else "in [0, 1]"
    return f"`torch.load` of images.pt, {scale}, sorted by class, and of labels.pt, as DD-Ranking takes them."


def _save(tensor: Tensor, path: Path) -> None:
    """Through a file of ours: torch does not say that a disk is full."""
    with path.open("wb") as file:
        torch.save(tensor, file)


def normalisation(export: Export) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and std per channel that DD-Ranking expects of this dataset; None leaves images in [0, 1]."""
    if decode_image(export.samples[0].path).shape[0] != 3:
        return None
    source = str(export.config["dataset"]["source"])
    return NORMALISATION["cifar10" if source.startswith("cifar") else "imagenet"]


WRITERS: dict[str, Callable[[Export, Path, Advance], str]] = {
    "imagefolder": write_imagefolder,
    "hf": write_hf,
    "parquet": write_parquet,
    "webdataset": write_webdataset,
    "pt": write_pt,
}


def _copy(export: Export, root: Path, advance: Advance) -> None:
    for sample in export.samples:
        copy_file(sample.path, root / sample.file)
        advance()
    if export.soft_labels is not None:
        save_tensors(root / "soft_labels.safetensors", {"soft_labels": export.soft_labels})


def _order(export: Export, root: Path, name: str) -> None:
    """The rows in order, which is the order of the soft labels as well."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["file_name", "label", "class_name", "increment", "slot", "score", "sha256"])
    for s in export.samples:
        writer.writerow([s.file, s.label, s.class_name, s.increment, s.slot, s.score, s.sha256])
    write_text(root / name, table.getvalue())


def _shards(export: Export) -> list[tuple[int, Iterable[Sample]]]:
    """Position of its first image, and the images, of each file."""
    return [(start, export.samples[start : start + SHARD]) for start in range(0, len(export.samples), SHARD)]
