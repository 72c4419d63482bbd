"""Parquet files as a source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lgd.config import DatasetConfig

from .image_folder import train_and_test
from .parts import Listing, listing_of
from .table import read_parquet


def find_tables(paths: str, config: DatasetConfig) -> Sequence[Listing]:
    """TRAIN,TEST; or one file, or folder of files."""
    whole = Path(paths).expanduser()
    files = [whole] if whole.exists() else [Path(path).expanduser() for path in train_and_test(paths)]
    tables = [(file, read_parquet(file, config)) for file in files]
    return [
        listing_of(table.rows.where, table.rows, table.labels, table.names, f"{file.resolve()} {table.fingerprint}")
        for file, table in tables
    ]
