"""A set of images as a torch dataset."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from .imageset import ImageSet


class LabelledImages(Dataset[tuple[Any, int]]):
    """A torch dataset of pairs: a float image in [0, 1], (C, H, W), which `transform` may change, and its label."""

    def __init__(self, images: ImageSet, transform: Callable[[Tensor], Any] | None = None) -> None:
        self.images = images
        """all images and labels"""
        self.transform = transform
        """applied to each image; None: no change"""
        self.class_names = images.class_names

    @property
    def classes(self) -> list[str]:
        """Class names by label, as torchvision's datasets have them."""
        return list(self.class_names)

    @property
    def class_to_idx(self) -> dict[str, int]:
        return {name: label for label, name in enumerate(self.class_names)}

    @property
    def targets(self) -> list[int]:
        return self.images.labels.tolist()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image, label = self.images[index]
        return image if self.transform is None else self.transform(image), label

    def __repr__(self) -> str:
        told = str(self.images).partition(": ")[2]
        return f"{type(self).__name__}: {told}" + (f"; transform {self.transform!r}" if self.transform else "")
