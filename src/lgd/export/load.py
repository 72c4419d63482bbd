"""Read an export back as a torch dataset, whatever its format."""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from lgd.config import DatasetConfig
from lgd.data.decode import header
from lgd.data.imageset import ImageSet
from lgd.data.labelled import LabelledImages
from lgd.data.parquet import find_tables
from lgd.data.stores import Encoded, EncodedImages
from lgd.errors import UserError, reading
from lgd.storage.files import read_json


@dataclass(frozen=True)
class Opened:
    """Encoded images that are opened by functions."""

    names: Sequence[str]
    openers: Sequence[Callable[[], BinaryIO]]

    def open(self, index: int) -> BinaryIO:
        return self.openers[index]()

    def name(self, index: int) -> str:
        return self.names[index]


def load_export(root: Path, transform: Callable[[Tensor], Any] | None = None) -> LabelledImages:
    """Read an export of the format imagefolder, hf, parquet or webdataset. Errors: UserError."""
    with reading(root):
        if list(root.glob("data/*.parquet")):
            files, labels, names = read_parquet(root)
        elif tars := sorted(root.glob("*.tar")):
            files, labels = read_tars(tars)
            names = class_names(root)
        elif tables := [root / name for name in ("order.csv", "metadata.csv") if (root / name).is_file()]:
            files, labels = read_table(tables[0])
            names = class_names(root)
        elif (root / "images.pt").is_file():
            raise UserError(f"{root}: an export of tensors, which torch.load(..., weights_only=True) reads")
        else:
            raise UserError(f"{root}: neither a run nor an export of lgd; lgd.ImageSet.from_source reads image folders")
        if not len(labels) or not 0 <= int(labels.min()) <= int(labels.max()) < len(names):
            raise UserError(f"{root}: no images, or labels beyond its {len(names)} classes")
        with files.open(0) as file:
            first = header(file)
    size, channels = min(first.width, first.height), 1 if first.grey else 3
    store = EncodedImages(torch.arange(len(labels)), channels, size, files)
    pixels = ImageSet(store, labels, names).images
    return LabelledImages(ImageSet(pixels, labels, names), transform)


def class_names(root: Path) -> tuple[str, ...]:
    return tuple(map(str, read_json(root / "classes.json")))


def read_table(table: Path) -> tuple[Encoded, Tensor]:
    """Read image files and labels by order.csv or metadata.csv. Errors: UserError for a path that leads out."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    paths = [table.parent / row["file_name"] for row in rows]
    for path in paths:
        if not path.resolve().is_relative_to(table.parent.resolve()):
            raise UserError(f"{table}: {path} lies outside")
    openers = [lambda path=path: path.open("rb") for path in paths]
    return Opened([str(path) for path in paths], openers), torch.tensor([int(row["label"]) for row in rows])


def read_tars(tars: Sequence[Path]) -> tuple[Encoded, Tensor]:
    """Read the members KEY.png and KEY.cls of tar files."""
    names, images, labels = [], [], []
    for path in tars:
        with tarfile.open(path) as tar:
            for member in tar:
                content = tar.extractfile(member)
                if content is not None and member.name.endswith(".png"):
                    names.append(f"{path}, {member.name}")
                    images.append(content.read())
                elif content is not None and member.name.endswith(".cls"):
                    labels.append(int(content.read()))
    openers = [lambda data=data: io.BytesIO(data) for data in images]
    return Opened(names, openers), torch.tensor(labels)


def read_parquet(root: Path) -> tuple[Encoded, Tensor, tuple[str, ...]]:
    listing = find_tables(str(root / "data"), DatasetConfig())[0]
    part = listing.select(listing.class_names)
    assert not isinstance(part.files, Tensor)
    return part.files, part.labels, part.class_names
