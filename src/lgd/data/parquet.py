"""Parquet files as a source."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from lgd.config import DatasetConfig
from lgd.errors import UserError, first_line, imported

from .image_folder import train_and_test
from .part_names import Role, part_among, part_of
from .parts import Listing, listing_of
from .stores import Encoded
from .table import Piece, Table, as_table
from .table_files import SPLIT_KEYS, PartFiles, all_files, divide

LARGEST = 2**30
"""bytes of Parquet files that are held in memory; larger ones are unpacked by `datasets` and mapped"""


@dataclass(frozen=True)
class Chosen:
    """Some of the encoded images of a table."""

    files: Encoded
    rows: Tensor
    """int64 (N,)"""

    def name(self, index: int) -> str:
        return self.files.name(int(self.rows[index]))

    def open(self, index: int) -> BinaryIO:
        return self.files.open(int(self.rows[index]))


def find_tables(paths: str, config: DatasetConfig) -> Sequence[Listing]:
    """List TRAIN,TEST; or the parts among the files of a folder or pattern; or those that a column tells apart."""
    if "," in paths and not Path(paths).expanduser().exists():
        parts = [all_files(path) for path in train_and_test(paths)]
    else:
        parts = divide(paths)
    pieces = [read_pieces(part) for part in parts]
    tables = [as_table(some, config) for some in pieces]
    if len(parts) == 1 and (rows := rows_by_part(pieces[0])):
        return by_column(parts[0], tables[0], rows)
    return [
        listing_of(part.where, table.rows, table.labels, table.names, key_of(part, table), part.notes)
        for part, table in zip(parts, tables, strict=True)
    ]


def by_column(part: PartFiles, table: Table, rows: dict[Role | None, Tensor]) -> Sequence[Listing]:
    """The training part and the test part of one table, by the rows of each part."""
    used: list[Role] = ["train", "test" if "test" in rows else "validation"]
    left_out = sum(len(some) for role, some in rows.items() if role not in used)
    note = f"{part.where}: rows of the parts {' and '.join(used)} are read; left out: {left_out} rows"
    listings = []
    for role in used:
        files, labels = Chosen(table.rows, rows[role]), table.labels[rows[role]]
        key = f"{key_of(part, table)} {role}"
        listings.append(listing_of(f"{part.where}, {role}", files, labels, table.names, key))
    return [replace(listings[0], notes=(*part.notes, note) if left_out else part.notes), listings[1]]


def rows_by_part(pieces: Sequence[Piece]) -> dict[Role | None, Tensor]:
    """Find the rows of each part where a column such as `split` names a training and a test part; empty otherwise."""
    name = next((name for name in pieces[0].table.schema.names if name.lower() in SPLIT_KEYS), None)
    if name is None or any(name not in piece.table.schema.names for piece in pieces):
        return {}
    values = [str(value) for piece in pieces for value in piece.table[name].to_pylist()]
    roles = {value: part_of(value) or part_among(value) for value in set(values)}
    rows: dict[Role | None, list[int]] = {}
    for row, value in enumerate(values):
        rows.setdefault(roles[value], []).append(row)
    if "train" not in rows or not {"test", "validation"} & set(rows):
        return {}
    return {role: torch.tensor(some) for role, some in rows.items()}


def key_of(part: PartFiles, table: Table) -> str:
    """Changes with the files and the columns."""
    stats = [(str(file.path.resolve()), file.path.stat()) for file in part.files]
    return repr([(name, one.st_size, one.st_mtime_ns) for name, one in stats]) + f" {table.columns}"


def read_pieces(part: PartFiles) -> list[Piece]:
    """Read the tables of a part. Errors: UserError naming a file that cannot be read."""
    imported("pyarrow", "Parquet files need")
    paths = [file.path for file in part.files]
    large = sum(path.stat().st_size for path in paths if path.exists()) > LARGEST
    return [Piece(read_table(file.path, large), str(file.path), file.constants) for file in part.files]


def read_table(path: Path, large: bool) -> Any:
    """Read a pyarrow.Table, mapped from a copy on disk where it is large. Errors: UserError."""
    import pyarrow
    from pyarrow import parquet

    try:
        if not large:
            return parquet.read_table(path, partitioning=None)
        return imported("datasets", "large Parquet files need").Dataset.from_parquet(str(path)).data.table
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as Parquet: {first_line(error)}") from None
