"""Images in the rows of tables: the columns that hold images and labels, in one table or several that are joined."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import torch
from torch import Tensor

from lgd.config import DatasetConfig
from lgd.errors import UserError
from lgd.storage.files import parse_json

from .class_names import composed
from .decode import BrokenImageError

USUAL = {"image": ("image", "img"), "label": ("label", "labels", "class")}
"""names of columns, where several would fit"""


@dataclass(frozen=True)
class Piece:
    """One table of a part: a file, or a split of the Hub."""

    table: Any
    """pyarrow.Table"""
    where: str
    constants: Mapping[str, str] = field(default_factory=dict)
    """columns of one value, which the names of folders give"""


@dataclass(frozen=True)
class LabelColumn:
    """A column of labels in one file."""

    values: Any
    """pyarrow.ChunkedArray"""
    names: tuple[str, ...] | None
    """that `datasets` wrote for the numbers 0, 1, ..."""
    where: str


@dataclass(frozen=True)
class TableRows:
    """Encoded images in columns of bytes, or of structs with `bytes`, as `datasets` writes them."""

    columns: Sequence[Any]
    """pyarrow.ChunkedArray of each table"""
    wheres: Sequence[str]
    ends: np.ndarray
    """rows up to the end of each table, int64"""
    trusted: Path | None = None
    """folder whose files a row may name in place of bytes"""

    def place(self, index: int) -> tuple[int, int]:
        table = int(np.searchsorted(self.ends, index, side="right"))
        return table, index - (int(self.ends[table - 1]) if table else 0)

    def name(self, index: int) -> str:
        table, row = self.place(index)
        return f"{self.wheres[table]}, row {row}"

    def open(self, index: int) -> BinaryIO:
        table, row = self.place(index)
        value = self.columns[table][row].as_py()
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
    """The images and labels of one part."""

    rows: TableRows
    labels: Tensor
    """into `names`, int64 (N,); -1 where there is none"""
    names: tuple[str, ...]
    columns: tuple[str, str]
    """of the images and the labels"""


def as_table(pieces: Sequence[Piece], config: DatasetConfig, trusted: Path | None = None) -> Table:
    """Find the columns of images and labels in the first table, and the same in the others. Errors: UserError."""
    first = pieces[0]
    image, label = find_column("image", first, config.image_column), find_column("label", first, config.label_column)
    columns = [images_of(piece, image, first) for piece in pieces]
    labels, names = class_labels([labels_of(piece, label, first) for piece in pieces])
    ends = np.cumsum([len(column) for column in columns], dtype=np.int64)
    rows = TableRows(columns, [piece.where for piece in pieces], ends, trusted)
    return Table(rows, labels, names, (image, label))


def images_of(piece: Piece, name: str, first: Piece) -> Any:
    """A column of images. Errors: UserError where it is not there or holds none."""
    if name not in piece.table.schema.names:
        raise UserError(f"{piece.where}: no column {name!r}, unlike {first.where}")
    column = piece.table[name]
    if not holds_images(column.type):
        raise UserError(f"{piece.where}: column {name!r} holds {in_words(column.type)}")
    return column


def labels_of(piece: Piece, name: str, first: Piece) -> LabelColumn:
    """A column of labels. Errors: UserError where it is not there."""
    where = f"{piece.where}, column {name!r}"
    if name in piece.table.schema.names:
        given = features_of(piece.table.schema).get(name, {}).get("names")
        names = tuple(map(str, given)) if isinstance(given, list) else None
        return LabelColumn(piece.table[name], names, where)
    if name not in piece.constants:
        raise UserError(f"{piece.where}: no column {name!r}, unlike {first.where}")
    import pyarrow

    return LabelColumn(pyarrow.chunked_array([[piece.constants[name]] * len(piece.table)]), None, where)


def find_column(what: Literal["image", "label"], piece: Piece, wanted: str) -> str:
    """Return the column asked for, or the only fitting one, or one that is usually so named. Errors: UserError."""
    schema, features = piece.table.schema, features_of(piece.table.schema)
    names = [*schema.names, *(piece.constants if what == "label" else ())]
    told = f"it has {', '.join(names) or 'none'}. Name one by dataset.{what}_column"
    if wanted and wanted not in names:
        raise UserError(f"{piece.where}: no column {wanted!r}; {told}")
    if wanted:
        return wanted
    kind = "Image" if what == "image" else "ClassLabel"
    fitting = [name for name in names if features.get(name, {}).get("_type") == kind]
    if what == "image":
        fitting = fitting or [one.name for one in schema if holds_images(one.type)]
    if len(fitting) != 1:
        fitting = [name for name in USUAL[what] if name in (fitting or names)][:1]
    if not fitting and what == "label" and len(piece.constants) == 1:
        fitting = list(piece.constants)
    if not fitting:
        raise UserError(f"{piece.where}: which column holds the {what}s is not clear; {told}")
    return fitting[0]


def holds_images(kind: Any) -> bool:
    from pyarrow import types

    return is_bytes(kind) or (types.is_struct(kind) and kind.get_field_index("bytes") >= 0)


def in_words(kind: Any) -> str:
    """Describe a column that holds no images, and say what to do."""
    from pyarrow import types

    if is_text(kind):
        return "text, such as file names, which are never opened; images are expected as bytes of PNG or JPEG files"
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return f"lists of {kind.value_type}, not encoded images; images are expected as bytes of PNG or JPEG files"
    return f"{kind}, not encoded images; images are expected as bytes of PNG or JPEG files"


def features_of(schema: Any) -> dict[str, Any]:
    """Read what the `datasets` library wrote about the columns."""
    try:
        found = parse_json((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return {name: f for name, f in found.items() if isinstance(f, dict)} if isinstance(found, dict) else {}


def class_labels(columns: Sequence[LabelColumn]) -> tuple[Tensor, tuple[str, ...]]:
    """Labels (N,) of all files and the class names they stand for; -1 where there is none.

    Names that no file gives are the sorted values. Errors: UserError for values that are neither text nor whole
    numbers, and for files that number the classes differently.
    """
    import pyarrow
    from pyarrow import compute

    first = columns[0]
    plain = [plain_values(column.values, column.where) for column in columns]
    for column, values in zip(columns, plain, strict=True):
        if column.names != first.names or values.type != plain[0].type:
            raise UserError(f"{column.where}: other kinds or names of classes than in {first.where}")
    values = pyarrow.chunked_array([chunk for one in plain for chunk in one.chunks], plain[0].type)
    if first.names is not None and values.type == pyarrow.int64():
        numbers = torch.from_numpy(compute.fill_null(values, -1).to_numpy().copy())
        labels, names = torch.where((numbers >= 0) & (numbers < len(first.names)), numbers, -1), first.names
    else:
        ordered = sorted(value for value in compute.unique(values).to_pylist() if value is not None)
        place = compute.index_in(values, value_set=pyarrow.array(ordered, values.type))
        labels = torch.from_numpy(compute.fill_null(place, -1).to_numpy().astype("int64"))
        names = tuple(str(value) for value in ordered)
    return joined(labels, names)


def joined(labels: Tensor, names: Sequence[str]) -> tuple[Tensor, tuple[str, ...]]:
    """Give names that are the same in normalised Unicode one label."""
    plain = [composed(name) for name in names]
    unique = tuple(dict.fromkeys(plain))
    if len(unique) == len(names):
        return labels, unique
    new = torch.tensor([unique.index(name) for name in plain] + [-1])  # the last one for the label -1
    return new[labels], unique


def plain_values(values: Any, where: str) -> Any:
    """Labels as int64 or text, whatever width or encoding they are stored in. Errors: UserError."""
    import pyarrow
    from pyarrow import compute, types

    if types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    kind = values.type
    try:
        if types.is_boolean(kind):
            return compute.if_else(values, "True", "False").cast(pyarrow.large_string())
        if types.is_integer(kind):
            return values.cast(pyarrow.int64())
        if types.is_floating(kind):  # as pandas stores whole numbers of which some are missing
            return compute.if_else(compute.is_nan(values), None, values).cast(pyarrow.int64())
        if is_text(kind) or is_bytes(kind):
            return values.cast(pyarrow.large_string())
    except pyarrow.ArrowException:
        pass
    raise UserError(f"{where}: labels are whole numbers or text, not {kind}")


def is_text(kind: Any) -> bool:
    return str(kind) in ("string", "large_string", "string_view")


def is_bytes(kind: Any) -> bool:
    return str(kind) in ("binary", "large_binary", "binary_view") or str(kind).startswith("fixed_size_binary")
