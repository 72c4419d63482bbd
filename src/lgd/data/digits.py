"""scikit-learn's digits, a source of images that needs no files."""

from collections.abc import Sequence

import torch

from lgd.config import DatasetConfig

from .parts import Listing, listing_of


def find_digits(argument: str, config: DatasetConfig) -> Sequence[Listing]:
    """List the 1,797 digits: grey 8 x 8 pixels, whose values 0 to 16 are spread over 0 to 255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    values = torch.from_numpy(digits.images)[:, None]  # (N, 1, 8, 8)
    images = (values * (255 / 16)).round().to(torch.uint8)
    names = tuple(str(name) for name in digits.target_names)
    return [listing_of("digits", images, torch.from_numpy(digits.target).long(), names)]
