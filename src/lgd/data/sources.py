"""The sources of images, by the word before the colon of `dataset.source`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lgd.config import DatasetConfig
from lgd.errors import UserError, nearest

from .arrays import find_arrays
from .digits import find_digits
from .hub import find_hub
from .image_folder import find_folders
from .parquet import find_tables
from .parts import Listing


@dataclass(frozen=True)
class Source:
    """A kind of places where images are."""

    summary: str
    find: Callable[[str, DatasetConfig], Sequence[Listing]]
    """from the text after the colon: the training part and the test part, or the whole where the source does not
    divide it. Errors: UserError in one line"""
    argument: str = "PATH"
    """stands for the text after the colon in messages; empty: the source's name stands alone"""


SOURCES = {
    "digits": Source("scikit-learn's 8 x 8 digits", find_digits, argument=""),
    "folder": Source("folders of image files, one per class", find_folders),
    "arrays": Source("a NumPy archive: train_images, train_labels, test_images, ...", find_arrays, argument="FILE.npz"),
    "parquet": Source("Parquet files with a column of encoded images", find_tables),
    "hf": Source("a data set of the Hugging Face Hub", find_hub, argument="NAME[:CONFIG][@REVISION]"),
}


def source_of(text: str) -> tuple[Source, str]:
    """Split `dataset.source` into its source and the text after the colon. Errors: UserError."""
    if not text:
        raise UserError("dataset.source is empty; say where the images are: --dataset.source folder:PATH")
    name, colon, argument = text.partition(":")
    source = SOURCES.get(name)
    if source is None or bool(colon) != bool(source.argument):
        known = [f"{name}:..." if source.argument else name for name, source in SOURCES.items()]
        meant = f"; did you mean folder:{text}?" if Path(text).is_dir() else nearest(text, known)
        raise UserError(f"dataset.source: unknown {text!r}{meant}")
    if colon and not argument:
        raise UserError(f"dataset.source: {text!r} needs a path or name after the colon")
    return source, argument
