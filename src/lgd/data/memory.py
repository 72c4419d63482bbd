"""Image sets of whatever a caller has: sets, arrays with labels, lists of PIL images, datasets of torch and the Hub."""

from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from lgd.errors import UserError

from .folder import describe
from .imageset import ImageSet

KINDS = "an lgd.ImageSet, a torch Dataset, a split of `datasets`, or (images, labels) of arrays or PIL images"


def image_set(images: Any, labels: Any = None) -> ImageSet:
    """Return images in memory as a set: the one among `ImageSet.from_*` that fits.

    images: an ImageSet or a set that holds one, a torch Dataset, a `datasets.Dataset`, or with `labels`, which may be
    the second of a pair, arrays or a sequence of PIL images. Errors: UserError, as those.
    """
    if labels is None and isinstance(images, tuple) and len(images) == 2:
        images, labels = images
    if isinstance(images, dict):
        raise UserError(f"images: a {type(images).__name__} of {', '.join(map(str, images))}; give one of them")
    if labels is not None:
        arrays = isinstance(images, np.ndarray | Tensor)
        return ImageSet.from_arrays(images, labels) if arrays else ImageSet.from_pil(images, labels)
    if isinstance(images, ImageSet):
        return images
    if isinstance(held := getattr(images, "images", None), ImageSet):
        return held
    if isinstance(images, np.ndarray | Tensor):
        raise UserError(f"images: an array of shape {tuple(images.shape)} without labels; give labels=")
    if hasattr(images, "column_names"):
        return ImageSet.from_datasets(images)
    if hasattr(images, "__getitem__") and hasattr(images, "__len__") and not isinstance(images, str):
        return ImageSet.from_torch(images)
    raise UserError(f"images: {type(images).__name__}; expected {KINDS}")


def matched(images: ImageSet, names: tuple[str, ...], order: tuple[str, ...] = ()) -> ImageSet:
    """Return a set with its labels counted in `names`, which hold all of its classes.

    Where no class is a name and all are numbers, they are positions in `order`; empty: in `names`. Errors: UserError
    for a class that is not there.
    """
    own = images.class_names
    if set(own) <= set(names):
        numbers = [names.index(name) for name in own]
    elif all(name.isdecimal() and int(name) < len(names) and name not in names for name in own):
        numbers = [names.index((order or names)[int(name)]) for name in own]
    else:
        wrong, shown = next(name for name in own if name not in names), ", ".join(names[:10])
        more = ", ..." * (len(names) > 10)
        raise UserError(f"images: class {wrong!r} is none of the {len(names)} classes: {shown}{more}")
    return replace(images, labels=images.labels.new_tensor(numbers)[images.labels], class_names=names)


def check_shape(images: ImageSet, shape: tuple[int, int, int]) -> None:
    """Errors: UserError for images of another shape than (C, H, W)."""
    if images.shape != shape:
        raise UserError(f"images: {describe(images.shape)}, but the test images are {describe(shape)}")
