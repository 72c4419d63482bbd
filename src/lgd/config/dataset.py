"""The part of the configuration that describes the real images."""

from dataclasses import dataclass
from typing import Literal

from .section import Section, Share, Whole


@dataclass(frozen=True)
class DatasetConfig(Section):
    """The real images: their source, how they are read, and how they are split."""

    source: str = "digits"
    """Source of the images: digits, folder:PATH, folder:TRAIN,TEST, parquet:TRAIN,TEST, arrays:FILE.npz or
    hf:NAME[:CONFIG][@REVISION] (docs/data.md)."""
    size: Whole = 0
    """Side in pixels to which images are resized and centre-cropped. 0: chosen from the images."""
    channels: Literal[0, 1, 3] = 0
    """Number of colour channels: 1 (grey) or 3 (RGB). 0: chosen from the images."""
    bits: Literal[0, 8, 10, 12, 14, 16] = 0
    """Number of bits that hold the values of images with 16 bits per channel. 0: chosen from their largest values."""
    background: str = ""
    """Colour laid under transparent images, such as white or #ff8800. Empty: transparency is dropped, which shows the
    colour stored under it."""
    classes: tuple[str, ...] = ()
    """Names of the classes to use, whose order numbers the labels in files; or one entry that names a built-in list or
    a file with one class per line. Empty: all classes."""
    image_column: str = ""
    """Name of the table column that holds the images. Empty: found by its type."""
    label_column: str = ""
    """Name of the table column that holds the labels. Empty: found by its type."""
    skip_broken: bool = False
    """Leave out images that cannot be read, and report how many."""
    eval_split: Literal["test", "validation"] = "test"
    """Images to evaluate on: test, or validation, which holds out a part of the training set and never reads the test
    set; use it for tuning."""
    test_fraction: Share = 0.25
    """Share of the images held out for testing, in [0, 1), for sources without a test split. 0: none, to select from
    all; then nothing can be evaluated."""
    validation_fraction: Share = 0.2
    """Share of the training set held out when eval_split is validation, in [0, 1)."""
    split_seed: Whole = 0
    """Seed of both splits; the run's seed does not change them."""
