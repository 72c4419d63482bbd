"""Images and labels that a caller holds in memory, checked and turned into uint8 pixels and numbers of classes."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lgd.errors import UserError

from .class_names import composed
from .decode import Header, resize_and_crop, to_mode
from .dimensions import chosen_channels, chosen_size
from .facts import Facts
from .messages import tell

EXPECTED = "expected (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 or 3 channels"


def pixels_of(images: Any) -> Tensor:
    """Return arrays or a tensor of images as uint8 (N, C, H, W).

    images: (N, H, W), (N, H, W, C) or (N, C, H, W), where C is 1 or 3; floats in [0, 1], or integers in 0 to 255.
    Errors: UserError for another shape, type or range of values, each of which would distil noise.
    """
    array = np.asarray(images.detach().cpu() if isinstance(images, Tensor) else images)
    if array.dtype == object or array.dtype.kind not in "buif":
        raise UserError(f"images: an array of {array.dtype}; expected numbers, all images of one size")
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or not {1, 3} & {array.shape[1], array.shape[3]}:
        hint = "; images of flattened pixels need .reshape(-1, H, W)" if array.ndim == 2 else ""
        raise UserError(f"images: an array of shape {np.shape(images)}; {EXPECTED}{hint}")
    if not len(array):
        raise UserError("images: an empty array")
    if array.shape[3] not in (1, 3):
        array = array.transpose(0, 2, 3, 1)
    return torch.from_numpy(np.ascontiguousarray(eight_bits(array).transpose(0, 3, 1, 2)))


def eight_bits(array: np.ndarray) -> np.ndarray:
    """Return values as uint8: floats in [0, 1] times 255, integers as they are. Errors: UserError for other values."""
    least, most = array.min(), array.max()
    told = f"images: {array.dtype} values from {least:.4g} to {most:.4g}"
    if array.dtype.kind == "f":
        if not (least >= 0 and most <= 1):  # also NaN
            divide = f"; divide by {'255' if most > 16 else f'{most:.4g}'}" if least >= 0 else "; undo a normalisation"
            raise UserError(f"{told}; expected floats in [0, 1], or uint8 in 0 to 255{divide}")
        return (array * 255).round().astype(np.uint8)
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * 255
    if least < 0 or most > 255 or most == 1:
        hint = "; integers up to 1 would be black: multiply by 255" if 0 <= least <= most == 1 else ""
        raise UserError(f"{told}; expected uint8 in 0 to 255, or floats in [0, 1]{hint}")
    return array.astype(np.uint8)


def labels_of(labels: Any, count: int, class_names: Sequence[str] = ()) -> tuple[Tensor, tuple[str, ...]]:
    """Return labels as int64 (N,) and the names of their classes.

    labels: whole numbers or names. class_names: of the numbers 0, 1, ...; empty: the sorted values are the names.
    A number that is itself one of the names stands for that class. Errors: UserError for another number of labels than
    of images, labels of another kind, or one that is no class.
    """
    values = np.asarray(labels.detach().cpu() if isinstance(labels, Tensor) else labels)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.shape != (count,):
        raise UserError(f"labels: of shape {values.shape} for {count} images; expected one label each, ({count},)")
    if values.dtype.kind == "f" and (values == values.round()).all():
        values = values.astype(np.int64)
    if values.dtype.kind not in "iubUSO" or (values.dtype.kind == "O" and not all(isinstance(v, str) for v in values)):
        raise UserError(
            f"labels: {values.dtype}, such as {values.ravel()[:1].tolist()[0]!r:.40}; expected whole numbers or names"
        )
    unique, places = np.unique(values, return_inverse=True)
    texts = [composed(value.decode() if isinstance(value, bytes) else str(value)) for value in unique]
    names = tuple(map(composed, class_names)) or tuple(dict.fromkeys(texts))
    if set(texts) <= set(names):
        numbers = [names.index(text) for text in texts]
    elif unique.dtype.kind in "iu" and unique[0] >= 0 and unique[-1] < len(names):
        numbers = unique.tolist()
    else:
        known = ", ".join(names[:10]) + ", ..." * (len(names) > 10)
        wrong = next(text for text in reversed(texts) if text not in names)
        raise UserError(f"labels: {wrong!r} is not one of the {len(names)} classes: {known}")
    return torch.tensor(numbers)[torch.from_numpy(places.reshape(-1))], names


def pixels_of_items(items: Iterable[Any], size: int = 0) -> Tensor:
    """Return single images as uint8 (N, C, H, W): PIL images of any mode, or arrays and tensors of one shape.

    size: side to which PIL images are resized and centre-cropped; 0: their own where all have one size, else chosen as
    for files. Errors: UserError.
    """
    images = list(items)
    if not images:
        raise UserError("images: an empty list")
    if not all(isinstance(image, Image.Image) for image in images):
        arrays = [np.asarray(image) for image in images]
        shapes = sorted({array.shape for array in arrays})
        if len(shapes) > 1:
            raise UserError(f"images: of shapes {shapes[0]} and {shapes[1]}; expected one shape, or PIL images")
        return pixels_of(np.stack(arrays))
    facts = Facts()
    for place, image in enumerate(images):
        facts.add(Header(is_grey(image), image.width, image.height, False), f"image {place}", False)
    channels = chosen_channels(facts, "images", tell)
    if size == 0 and len({image.size for image in images}) == 1:
        flat = [np.asarray(to_mode(image, channels)) for image in images]
    else:
        side = size or chosen_size(facts, skip_small=False)
        flat = [np.asarray(resize_and_crop(to_mode(image, channels), side, side)) for image in images]
    return pixels_of(np.stack(flat))


def is_grey(image: Image.Image) -> bool:
    """Return whether a PIL image has no colours. Errors: UserError for values of more than eight bits."""
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        raise UserError(f"images: a PIL image of mode {image.mode}; expected eight bits a channel, such as L or RGB")
    return image.mode in ("1", "L", "LA", "La")
