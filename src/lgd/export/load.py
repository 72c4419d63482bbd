"""Read an export back as a torch dataset, whatever its format."""

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
from lgd.data.imageset import ImageSet, LabelledImages, to_bytes
from lgd.data.parquet import find_tables
from lgd.data.stores import Encoded, EncodedImages
from lgd.errors import UserError, reading
from lgd.evaluation.released import hard_labels, tensor_files, tensors_in, unnormalised
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
    """Read an export of any format, or a pair of tensors in torch's files. Errors: UserError."""
    with reading(root):
        if list(root.glob("data/*.parquet")):
            files, labels, names = read_parquet(root)
        elif tars := sorted(root.glob("*.tar")):
            files, labels = read_tars(tars)
            names = class_names(root)
        elif tables := [root / name for name in ("order.csv", "metadata.csv") if (root / name).is_file()]:
            files, labels, names = read_table(tables[0])
        elif tensor_files(root) and (root.is_dir() or root.suffix in (".pt", ".pth")):
            return LabelledImages(read_pt(root), transform)
        else:
            raise UserError(
                f"{root}: neither a run nor an export of lgd; lgd.read_images('folder:{root}') reads a folder"
                " of <class>/*.png"
            )
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


def read_table(table: Path) -> tuple[Encoded, Tensor, tuple[str, ...]]:
    """Read image files, labels and class names by order.csv or metadata.csv.

    Without classes.json, as in the folder `dataset` of a run, the names are those in the table. Errors: UserError for a
    path that leads out, and for a label whose name is not in the table.
    """
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    paths = [table.parent / row["file_name"] for row in rows]
    for path in paths:
        if not path.resolve().is_relative_to(table.parent.resolve()):
            raise UserError(f"{table}: {path} lies outside")
    openers = [lambda path=path: path.open("rb") for path in paths]
    labels = torch.tensor([int(row["label"]) for row in rows])
    if (table.parent / "classes.json").is_file():
        return Opened([str(path) for path in paths], openers), labels, class_names(table.parent)
    named = {int(row["label"]): row["class_name"] for row in rows}
    if missing := set(range(max(named, default=0))) - named.keys():
        raise UserError(
            f"{table}: no image with label {min(missing)}, so its class has no name; restore the images and their rows,"
            " or put classes.json, the list of all names in the order of the labels, beside it"
        )
    return Opened([str(path) for path in paths], openers), labels, tuple(named[label] for label in sorted(named))


def read_tars(tars: Sequence[Path]) -> tuple[Encoded, Tensor]:
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


def read_pt(place: Path) -> ImageSet:
    """Read tensors of the format pt, or those of another program: a folder of them, or a file that holds both tensors.

    Without classes.json the classes are the numbers. Errors: UserError, also for normalised images of unknown
    statistics.
    """
    files = tensor_files(place)
    images, labels = tensors_in(files)
    if images.shape[-1] in (1, 3) and images.shape[1] not in (1, 3):
        images = images.permute(0, 3, 1, 2)
    beside, statistics = place / "classes.json", place / "normalisation.json"
    count = labels.shape[1] if labels.ndim == 2 and labels.shape[1] > 1 else int(labels.max()) + 1
    names = tuple(map(str, read_json(beside) if beside.is_file() else range(count)))
    if statistics.is_file():
        known = read_json(statistics)
        mean, std = (torch.tensor(known[key]).view(1, -1, 1, 1) for key in ("mean", "std"))
        images = to_bytes(images * std + mean)
    if (pixels := unnormalised(files[0], images)) is None:
        raise UserError(
            f"{files[0]}: values from {images.min():.2f} to {images.max():.2f}, normalised by statistics that nothing"
            f" tells; lgd.evaluate({str(place)!r}, test=...) takes those of the test images"
        )
    return ImageSet(pixels, hard_labels(files[-1], labels, len(names), "classes.json has"), names)
