"""Image sets by their source."""

from __future__ import annotations

import torch

from lgd.config import DatasetConfig
from lgd.errors import UserError, nearest

from .imageset import ImageSet, Splits, stratified_split


def load_digits(config: DatasetConfig) -> Splits:
    """scikit-learn's 1,797 digits: grey 8 x 8, values 0 to 16 spread over 0 to 255; seeded stratified split."""
    from sklearn.datasets import load_digits as read

    digits = read()
    values = torch.from_numpy(digits.images)[:, None]  # (N, 1, 8, 8)
    images = (values * (255 / 16)).round().to(torch.uint8)
    labels = torch.from_numpy(digits.target).long()
    whole = ImageSet(images, labels, tuple(str(name) for name in digits.target_names))
    return Splits(*stratified_split(whole, config.test_fraction, config.split_seed))


SOURCES = {"digits": load_digits}


def load_splits(config: DatasetConfig) -> Splits:
    """The training and the judging part. With `judge_on = "validation"` the latter is cut from the training part.

    Errors: UserError for an unknown source.
    """
    if config.source not in SOURCES:
        raise UserError(f"dataset.source: unknown {config.source!r}{nearest(config.source, SOURCES)}")
    splits = SOURCES[config.source](config)
    if config.judge_on == "validation":
        return Splits(*stratified_split(splits.train, config.validation_fraction, config.split_seed))
    return splits
