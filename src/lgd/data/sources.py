"""The sources of images, by the word before the colon of `dataset.source`; among them scikit-learn's digits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from lgd.config import DatasetConfig
from lgd.errors import UserError, nearest

from .arrays import find_arrays
from .hub import find_hub
from .image_folder import find_folders
from .parquet import find_tables
from .parts import Listing, listing_of


@dataclass(frozen=True)
class Source:
    """A kind of places where images are."""

    summary: str
    find: Callable[[str, DatasetConfig], Sequence[Listing]]
    """from the text after the colon: the training part and the test part, or the whole where the source does not
    divide it. Errors: UserError in one line"""
    argument: str = "PATH"
    """stands for the text after the colon in messages; empty: the source's name stands alone"""


def find_digits(argument: str, config: DatasetConfig) -> Sequence[Listing]:
    """List the 1,797 digits: grey 8 x 8 pixels, whose values 0 to 16 are spread over 0 to 255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    values = torch.from_numpy(digits.images)[:, None]  # (N, 1, 8, 8)
    images = (values * (255 / 16)).round().to(torch.uint8)
    names = tuple(str(name) for name in digits.target_names)
    return [listing_of("digits", images, torch.from_numpy(digits.target).long(), names)]


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
