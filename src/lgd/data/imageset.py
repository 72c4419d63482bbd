"""A labelled image set, in memory or in files that are read as they are needed; as a torch dataset; and its split."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from math import prod
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils.data import Dataset

from lgd.errors import UserError
from lgd.rng import generator

from .given import labels_of, pixels_of, pixels_of_items
from .stores import Store

LARGEST_ON_GPU = 2 * 2**30  # bytes of pixels that are moved to a GPU at once


@dataclass(frozen=True)
class ImageSet:
    """Images with labels. `store` holds or reads uint8 (N, C, H, W), `labels` is int64 (N,) into `class_names`."""

    store: Tensor | Store
    labels: Tensor
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return an image as floats in [0, 1], (C, H, W), and its label, so that the set is one for a DataLoader."""
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return to_float(self.pixels(torch.tensor([index]))[0]), int(self.labels[index])

    def __repr__(self) -> str:
        C, H, W = self.shape
        names = ", ".join(self.class_names[:5]) + ", ..." * (len(self.class_names) > 5)
        colours = {1: "grey", 3: "RGB"}.get(C, f"{C}-channel")
        return f"ImageSet: {len(self)} images of {W} x {H} {colours}, {len(self.class_names)} classes ({names})"

    @classmethod
    def from_arrays(cls, images: Any, labels: Any, class_names: Sequence[str] = ()) -> Self:
        """Make a set of arrays or tensors: images (N, H, W), (N, H, W, C) or (N, C, H, W), labels (N,).

        images: floats in [0, 1], or integers in 0 to 255. labels: whole numbers or names. class_names: of the numbers
        0, 1, ...; empty: the sorted labels. Errors: UserError for another shape, range or number of labels.
        """
        pixels = pixels_of(images)
        return cls(pixels, *labels_of(labels, len(pixels), class_names))

    @classmethod
    def from_pil(cls, images: Iterable[Any], labels: Any, class_names: Sequence[str] = (), size: int = 0) -> Self:
        """Make a set of PIL images of any mode and size. labels, class_names and errors: as `from_arrays`.

        size: side in pixels to which they are resized and centre-cropped. 0: their own where all have one size, else
        as many pixels as all but a few have, at most 32.
        """
        pixels = pixels_of_items(images, size)
        return cls(pixels, *labels_of(labels, len(pixels), class_names))

    @classmethod
    def from_torch(cls, dataset: Any, class_names: Sequence[str] = (), size: int = 0) -> Self:
        """Make a set of a torch Dataset of pairs (image, label), which is read once.

        Images are PIL images, or tensors and arrays of one shape: floats in [0, 1] or integers in 0 to 255, without
        augmentation or normalisation. class_names: by default those in `dataset.classes`, as torchvision names them.
        size: as `from_pil`. Errors: as `from_arrays`.
        """
        pairs = [dataset[i] for i in range(len(dataset))]
        if not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):
            raise UserError(f"{type(dataset).__name__}: its items are no pairs (image, label)")
        names = class_names or [str(name) for name in getattr(dataset, "classes", ())]
        labels = [label.item() if isinstance(label, Tensor) else label for _, label in pairs]
        return cls.from_pil((image for image, _ in pairs), labels, names, size)

    @classmethod
    def from_datasets(cls, dataset: Any, image: str = "", label: str = "", size: int = 0) -> Self:
        """Make a set of one split of Hugging Face's `datasets`.

        image, label: names of the columns. Empty: image or img, and label, labels or class. Class names are those of a
        ClassLabel column. size: as `from_pil`. Errors: UserError for a missing column, and as `from_arrays`.
        """
        columns = list(dataset.column_names)
        chosen = []
        for role, wanted, usual in (("image", image, ("image", "img")), ("label", label, ("label", "labels", "class"))):
            found = [name for name in ([wanted] if wanted else usual) if name in columns]
            if not found:
                raise UserError(
                    f"datasets: no {role} column {wanted or ' or '.join(usual)!r}; it has {', '.join(columns)}"
                )
            chosen.append(found[0])
        names = getattr(dataset.features[chosen[1]], "names", None) or ()
        return cls.from_pil((row[chosen[0]] for row in dataset), list(dataset[chosen[1]]), names, size)

    @property
    def shape(self) -> tuple[int, int, int]:
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
        if not isinstance(self.store, Tensor):
            return self.store.stream(chunks)
        store = self.store
        return (store[chunk.to(store.device, non_blocking=True)] for chunk in chunks)

    def batches(self, size: int) -> Iterator[Tensor]:
        return self.stream(torch.arange(len(self)).split(size))

    def to(self, device: str | torch.device) -> Self:
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

    def subset(self, indices: Tensor | Sequence[int]) -> Self:
        """The images at `indices`, in that order, with the same classes."""
        indices = torch.as_tensor(indices, dtype=torch.long)
        store = self.store[indices] if isinstance(self.store, Tensor) else self.store.take(indices)
        return replace(self, store=store, labels=self.labels[indices])

    def indices_of(self, class_index: int) -> Tensor:
        """Positions of the images of one class, ascending."""
        return (self.labels == class_index).nonzero().flatten()


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


@dataclass(frozen=True)
class Splits:
    """The training part and the test part."""

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
    names = sets[0].class_names
    if any(part.class_names != names for part in sets):
        raise ValueError("sets over different classes cannot be joined")
    return ImageSet(torch.cat([s.images for s in sets]), torch.cat([s.labels for s in sets]), names)


def stratified_split(images: ImageSet, fraction: float, seed: int) -> tuple[ImageSet, ImageSet]:
    """Split off round(fraction * n) images of each class, at least one: returns (rest, part).

    A fraction of 0 splits off none. Errors: UserError naming a class that is too small to leave an image on both sides.
    """
    if not fraction:
        return images, images.subset([])
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
