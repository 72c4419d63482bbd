"""The export formats (docs/export.md)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .folders import write_hf, write_imagefolder
from .parquet import write_parquet
from .samples import Advance, Export
from .tensors import write_pt
from .webdataset import write_webdataset


@dataclass(frozen=True)
class ExportFormat:
    """A form of a dataset that other software reads."""

    summary: str
    write: Callable[[Export, Path, Advance], str]
    """fills an empty directory; returns a sentence for the card: how to read it"""
    viewer_files: str = ""
    """pattern of the files that the Hub's viewer reads; empty: the Hub finds them by itself"""
    image_table: str = ""
    """the CSV file with the SHA-256 of every PNG; empty: the card lists every file"""
    normalises: bool = False
    """whether it takes `statistics`"""


FORMATS = {
    "imagefolder": ExportFormat("PNG files in a folder per class", write_imagefolder, image_table="order.csv"),
    "hf": ExportFormat('for datasets.load_dataset("imagefolder")', write_hf, image_table="metadata.csv"),
    "parquet": ExportFormat("Parquet files with an image column", write_parquet, viewer_files="data/*.parquet"),
    "webdataset": ExportFormat("tar files", write_webdataset, viewer_files="*.tar"),
    "pt": ExportFormat("tensors for DD-Ranking", write_pt, normalises=True),
}
"""by the name in --to"""
