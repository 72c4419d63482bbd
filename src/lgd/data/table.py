"""Images in the rows of tables: Parquet files as the Hugging Face Hub keeps them."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from lgd.errors import UserError

from .decode import BrokenImageError


@dataclass(frozen=True)
class TableRows:
    """Encoded images in a column of structs with `bytes`."""

    column: Any
    """pyarrow.ChunkedArray"""
    where: str

    def name(self, index: int) -> str:
        return f"{self.where}: row {index}"

    def open(self, index: int) -> BinaryIO:
        value = self.column[index].as_py()
        data = value["bytes"] if isinstance(value, dict) else value
        if not data:  # a bare `path` is not followed: it could name any file of this machine
            raise BrokenImageError("no image bytes in it")
        return io.BytesIO(data)


@dataclass(frozen=True)
class LabelledRows:
    """A table's images, each with the name of its class."""

    rows: TableRows
    labels: Sequence[str]
    known: tuple[str, ...]
    """class names in the table's own order"""


def read_parquet(path: Path, image_column: str, label_column: str) -> LabelledRows:
    """Errors: UserError for a missing extra, a file that is no Parquet, or one without the columns."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UserError("Parquet files need the extra hf: pip install 'lgd[hf]'") from None
    try:
        table = parquet.read_table(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path}: cannot be read as Parquet: {str(error).splitlines()[0]}") from None
    features = _features(table.schema.metadata)
    image = _column(table.schema, image_column, ("image", "img"), path, "image")
    label = _column(table.schema, label_column, ("label", "labels"), path, "label")
    names = features.get(label, {}).get("names")
    values = table[label].to_pylist()
    if isinstance(names, list):
        labels = [str(names[value]) for value in values]
    else:
        labels = [str(value) for value in values]
        names = [str(value) for value in sorted(set(values))]
    return LabelledRows(TableRows(table[image], str(path)), labels, tuple(map(str, names)))


def _column(schema: Any, wanted: str, usual: Sequence[str], path: Path, what: str) -> str:
    names = [wanted] if wanted else usual
    for name in names:
        if name in schema.names:
            return name
    raise UserError(
        f"{path}: no {what} column {' or '.join(map(repr, names))}; it has {', '.join(schema.names)};"
        f" name it by dataset.{what}_column"
    )


def _features(metadata: dict[bytes, bytes] | None) -> dict[str, Any]:
    """What the `datasets` library wrote about the columns."""
    try:
        found = json.loads((metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}
