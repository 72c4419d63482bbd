"""A labelled image set, in memory or in files that are read as they are needed, and its split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from math import prod

import torch
from torch import Tensor

from lgd.errors import UserError
from lgd.rng import generator

from .stores import Store

LARGEST_ON_GPU = 2 * 2**30
"""bytes of pixels that are moved to a GPU at once"""


@dataclass(frozen=True)
class ImageSet:
    """Images with labels. `store` holds or reads uint8 (N, C, H, W), `labels` is int64 (N,) into `class_names`."""

    store: Tensor | Store
    labels: Tensor
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)"""
        channels, height, width = self.store.shape[1:]
        return channels, height, width

    @property
    def images(self) -> Tensor:
        """All of them at once, uint8 (N, C, H, W): for sets that are known to be small."""
        return self.store if isinstance(self.store, Tensor) else self.pixels(torch.arange(len(self)))

    def pixels(self, indices: Tensor) -> Tensor:
        """The images at `indices` (B,), uint8 (B, C, H, W). Errors: UserError naming a file that cannot be read."""
        return next(self.stream([indices]))

    def stream(self, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        """`pixels` of each of `chunks` in turn; files are read ahead while the caller works on what it has."""
        return (self.store[chunk] for chunk in chunks) if isinstance(self.store, Tensor) else self.store.stream(chunks)

    def batches(self, size: int) -> Iterator[Tensor]:
        """All images in order, `size` at a time."""
        return self.stream(torch.arange(len(self)).split(size))

    def to(self, device: str | torch.device) -> ImageSet:
        """With the images on `device`, where they are in memory or fit into a GPU's; files are read on the CPU."""
        if isinstance(self.store, Tensor):
            return replace(self, store=self.store.to(device))
        if torch.device(device).type == "cpu" or prod(self.store.shape) > LARGEST_ON_GPU:
            return self
        return replace(self, store=self.images.to(device))

    def digest(self) -> str:
        """Digest the labels and some evenly spread images; it changes when the set changes."""
        found = blake2b(repr(self.class_names).encode() + self.labels.numpy().tobytes(), digest_size=16)
        chosen = torch.linspace(0, len(self) - 1, min(len(self), 256)).long()
        found.update(self.pixels(chosen).numpy().tobytes())
        return found.hexdigest()

    def subset(self, indices: Tensor | Sequence[int]) -> ImageSet:
        """The images at `indices`, in that order, with the same classes."""
        indices = torch.as_tensor(indices, dtype=torch.long)
        store = self.store[indices] if isinstance(self.store, Tensor) else self.store.take(indices)
        return ImageSet(store, self.labels[indices], self.class_names)

    def indices_of(self, class_index: int) -> Tensor:
        """Positions of the images of one class, ascending."""
        return (self.labels == class_index).nonzero().flatten()


@dataclass(frozen=True)
class Splits:
    """The part that is learned from and the part that evaluators."""

    train: ImageSet
    test: ImageSet
    class_order: tuple[str, ...]
    """the same classes in the order of the labels in files: that of `dataset.classes`, or else of the source"""


def to_float(images: Tensor) -> Tensor:
    """uint8 to float in [0, 1], which is what classifiers and autoencoders take."""
    return images.float() / 255


def to_bytes(images: Tensor) -> Tensor:
    """Float in [0, 1] to uint8, rounded: the image as it will be stored."""
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)


def concatenate(sets: Sequence[ImageSet]) -> ImageSet:
    """The union of sets over the same classes, in order."""
    names = sets[0].class_names
    if any(part.class_names != names for part in sets):
        raise ValueError("sets over different classes cannot be joined")
    return ImageSet(torch.cat([s.images for s in sets]), torch.cat([s.labels for s in sets]), names)


def stratified_split(images: ImageSet, fraction: float, seed: int) -> tuple[ImageSet, ImageSet]:
    """Split off round(fraction * n) images of each class, at least one: returns (rest, part).

    Errors: UserError naming a class that is too small to leave an image on both sides.
    """
    rest, part = [], []
    for c, name in enumerate(images.class_names):
        members = images.indices_of(c)
        take = max(1, round(fraction * len(members)))
        if take >= len(members):
            raise UserError(f"class {name!r} has {len(members)} images, too few to split off {fraction:.0%}")
        order = torch.randperm(len(members), generator=generator(seed, "split", name))
        part.append(members[order[:take]])
        rest.append(members[order[take:]])
    return images.subset(torch.cat(rest).sort().values), images.subset(torch.cat(part).sort().values)
