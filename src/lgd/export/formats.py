"""The export formats (docs/export.md)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .folders import in_folders, write_hf, write_imagefolder
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
    viewer_files: str | list[str] = ""
    """patterns of the files that `datasets` and the Hub's viewer read; empty: they find them by themselves"""
    image_table: str = ""
    """the CSV file with the SHA-256 of every PNG; empty: the card lists every file"""
    normalises: bool = False
    """whether it takes `statistics`"""
    arrange: Callable[[Export], Export] = lambda export: export
    """gives images, labels and classes the order of the format's readers. Errors: UserError"""
    features: bool = False
    """whether `datasets` reads the columns of `parquet.table_columns`, which the card then lists"""


FORMATS = {
    "imagefolder": ExportFormat(
        "PNG files in a folder per class", write_imagefolder, "*/*.png", image_table="order.csv", arrange=in_folders
    ),
    "hf": ExportFormat(
        "image folder for datasets.load_dataset",
        write_hf,
        viewer_files=["metadata.parquet", "*/*.png"],  # without it a class named as a split would be one
        image_table="order.csv",
        arrange=in_folders,
        features=True,
    ),
    "parquet": ExportFormat(
        "Parquet files with an image column", write_parquet, viewer_files="data/*.parquet", features=True
    ),
    "webdataset": ExportFormat("tar files", write_webdataset, viewer_files="*.tar"),
    "pt": ExportFormat("tensors for DD-Ranking", write_pt, normalises=True),
}
"""by the name in --to"""
