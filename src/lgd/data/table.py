"""Images in the rows of tables: Parquet files, and data sets of the Hugging Face Hub."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from lgd.config import DatasetConfig
from lgd.errors import UserError
from lgd.storage.files import parse_json

from .decode import BrokenImageError

LARGEST = 2**30
"""bytes of a Parquet file that is held in memory; a larger one is unpacked by `datasets` and mapped"""
USUAL = {"image": ("image", "img"), "label": ("label", "labels", "class")}
"""names of columns, where several would fit"""


@dataclass(frozen=True)
class TableRows:
    """Encoded images in a column of bytes, or of structs with `bytes`, as `datasets` writes them."""

    column: Any
    """pyarrow.ChunkedArray"""
    where: str
    trusted: Path | None = None
    """folder whose files a row may name in place of bytes"""

    def name(self, index: int) -> str:
        return f"{self.where}, row {index}"

    def open(self, index: int) -> BinaryIO:
        value = self.column[index].as_py()
        data = value.get("bytes") if isinstance(value, dict) else value
        if data:
            return io.BytesIO(data)
        # A file that a table names could be any file of this machine.
        path = Path(value.get("path") or "").resolve() if isinstance(value, dict) else Path()
        if self.trusted is None or not path.is_relative_to(self.trusted.resolve()):
            raise BrokenImageError("no image bytes")
        return path.open("rb")


@dataclass(frozen=True)
class Table:
    """What is in a table."""

    rows: TableRows
    labels: Tensor
    """into `names`, int64 (N,); -1 where there is none"""
    names: tuple[str, ...]
    fingerprint: str


def read_parquet(path: Path, config: DatasetConfig) -> Table:
    """A Parquet file, or a folder of them. Errors: UserError."""
    pyarrow = needs_hf("pyarrow", "Parquet files")
    from pyarrow import parquet

    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not files:
        raise UserError(f"{path}: no *.parquet files in it")
    try:
        status = [file.stat() for file in files]
        if sum(one.st_size for one in status) <= LARGEST:
            table = pyarrow.concat_tables([parquet.read_table(file) for file in files])
        else:
            datasets = needs_hf("datasets", "large Parquet files")
            table = datasets.Dataset.from_parquet([str(file) for file in files]).data.table
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as Parquet: {str(error).splitlines()[0]}") from None
    times = [(file.name, one.st_size, one.st_mtime_ns) for file, one in zip(files, status, strict=True)]
    return as_table(table, str(path), repr(times), config)


def needs_hf(name: str, what: str) -> Any:
    """Import a package of the extra `hf`. Errors: UserError that says how to install it."""
    try:
        return import_module(name)
    except ImportError:
        raise UserError(f"{what} need the extra hf: pip install 'lgd[hf]'") from None


def as_table(table: Any, where: str, fingerprint: str, config: DatasetConfig, trusted: Path | None = None) -> Table:
    """Find the columns of a pyarrow.Table. Errors: UserError."""
    features = features_of(table.schema)
    image = column(table.schema, features, "image", config.image_column, where)
    label = column(table.schema, features, "label", config.label_column, where)
    labels, names = class_labels(table[label], features.get(label, {}).get("names"), f"{where}, column {label!r}")
    return Table(TableRows(table[image], where, trusted), labels, names, f"{fingerprint} {image} {label}")


def column(schema: Any, features: dict[str, Any], what: str, wanted: str, where: str) -> str:
    """The column of the images or labels: the one asked for, or the only one of that kind, or one usually so named."""
    if wanted:
        fitting = [wanted] if wanted in schema.names else []
    else:
        fitting = [field.name for field in schema if is_a(what, field, features.get(field.name, {}))]
        if len(fitting) != 1:
            fitting = [name for name in USUAL[what] if name in (fitting or schema.names)][:1]
    if not fitting:
        missing = f"no column {wanted!r}" if wanted else f"which column holds the {what}s is not clear"
        raise UserError(f"{where}: {missing}; it has {', '.join(schema.names)}. Name one by dataset.{what}_column")
    return fitting[0]


def is_a(what: str, field: Any, feature: dict[str, Any]) -> bool:
    from pyarrow import types

    if what == "label":
        return feature.get("_type") == "ClassLabel"
    holds_bytes = types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0
    return feature.get("_type") == "Image" or holds_bytes or types.is_binary(field.type)


def features_of(schema: Any) -> dict[str, Any]:
    """What the `datasets` library wrote about the columns."""
    try:
        found = parse_json((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return {name: f for name, f in found.items() if isinstance(f, dict)} if isinstance(found, dict) else {}


def class_labels(values: Any, names: Any, where: str) -> tuple[Tensor, tuple[str, ...]]:
    """Labels (N,) and the names they stand for; names that the table does not give are the sorted values.

    Errors: UserError for values that are neither text nor whole numbers.
    """
    from pyarrow import compute, types

    if not (types.is_integer(values.type) or types.is_string(values.type) or types.is_large_string(values.type)):
        raise UserError(f"{where}: labels are whole numbers or text, not {values.type}")
    if isinstance(names, list) and types.is_integer(values.type):
        labels = torch.from_numpy(compute.fill_null(values, -1).to_numpy().astype("int64"))
        return torch.where((labels >= 0) & (labels < len(names)), labels, -1), tuple(map(str, names))
    ordered = sorted(value for value in compute.unique(values).to_pylist() if value is not None)
    place = compute.index_in(values, value_set=_array(ordered, values.type))
    labels = torch.from_numpy(compute.fill_null(place, -1).to_numpy().astype("int64"))
    return labels, tuple(str(value) for value in ordered)


def _array(values: Sequence[Any], kind: Any) -> Any:
    import pyarrow

    return pyarrow.array(values, kind)
