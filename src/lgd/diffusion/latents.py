"""Sources that a generator learns from: pixels of an image set, or latents, encoded once and kept on disk."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from lgd.data.imageset import ImageSet, to_float
from lgd.storage.files import read_json, write_json

from .autoencoder import Latents, Pixels, Shape

CHUNK = 32
"""images encoded at once: few enough for a CPU cache to hold what the first layers make of them"""
SAVE_EVERY = 30.0
"""seconds between records of how far the encoding has come"""


class Source(Protocol):
    """Latents of an image set by position."""

    shape: Shape
    """(C, H, W) of a latent"""

    def stream(self, chunks: Iterable[Tensor]) -> Iterator[Any]:
        """Yield an item for each chunk of positions (B,), read ahead where that pays."""
        ...

    def latents(self, item: Any, flipped: Tensor | None) -> Tensor:
        """Return float (B, C, H, W) of an item of `stream`, mirrored where `flipped` (B,) is true."""
        ...


class PixelSource:
    """Pixels as they are read."""

    def __init__(self, train: ImageSet) -> None:
        self.train = train
        self.shape = train.shape

    def stream(self, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        return self.train.stream(chunks)

    def latents(self, item: Tensor, flipped: Tensor | None) -> Tensor:
        x = Pixels().encode(to_float(item))
        return x if flipped is None else torch.where(flipped[:, None, None, None], x.flip(-1), x)


class LatentSource:
    """Latents on disk, float16 (views, N, C, H, W), of which the second view is that of the mirrored images."""

    def __init__(self, array: np.ndarray, mean: Tensor, std: Tensor) -> None:
        self.array = array
        self.mean, self.std = mean, std
        """per channel, over all images and views"""
        self.shape = tuple(array.shape[2:])

    def stream(self, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        return iter(chunks)

    def latents(self, item: Tensor, flipped: Tensor | None) -> Tensor:
        view = np.zeros(len(item), dtype=int) if flipped is None else flipped.cpu().numpy().astype(int)
        z = torch.from_numpy(self.array[view, item.numpy()]).float()
        return (z - self.mean.view(-1, 1, 1)) / self.std.view(-1, 1, 1)


@dataclass(frozen=True)
class Encoder:
    """Make an array of every image, as latents or feature maps are."""

    encode: Callable[[Tensor], Tensor]
    """takes images in [0, 1], (B, C, H, W), and gives (B, *shape)"""
    shape: Shape
    made_from: dict[str, Any]
    """what the results depend on"""


def encode_latents(
    train: ImageSet,
    autoencoder: Latents,
    flip: bool,
    folder: Path,
    made_from: dict[str, Any],
    advance: Callable[..., None],
) -> LatentSource:
    """Encode every image, and with `flip` its mirror image, into `folder`/latents.npy, as `encode_images` does."""
    network = autoencoder.normalised((0.0,), (1.0,))
    device = next(autoencoder.network.parameters()).device
    encoder = Encoder(lambda images: network.encode(images.to(device)), autoencoder.shape, made_from)
    return encode_images(train, encoder, flip, folder / "latents.npy", advance)


def encode_images(
    train: ImageSet, encoder: Encoder, flip: bool, path: Path, advance: Callable[..., None]
) -> LatentSource:
    """Write what an encoder makes of every image, and with `flip` of its mirror image; finished parts are kept.

    path: of the array, float16 (views, N, *shape), beside which a JSON file has the moments of its channels. One that
    was made from something else is made anew. Interrupted, it goes on where it stopped. advance: called with `count`
    images. Errors: UserError naming an image that cannot be read.
    """
    views = 2 if flip else 1
    whole, record = (views, len(train), *encoder.shape), path.with_suffix(".json")
    made_from = {**encoder.made_from, "flip": flip, "shape": list(whole)}
    known = read_json(record) if record.exists() and path.exists() else {}
    fresh = known.get("made_from") != made_from
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.lib.format.open_memmap(path, "w+" if fresh else "r+", np.float16, whole)
    known = {"made_from": made_from, "encoded": 0} if fresh else known
    done, saved = known["encoded"], monotonic()
    advance(count=done)
    left = torch.arange(done, len(train))
    for pixels in train.stream(left.split(CHUNK) if len(left) else ()):
        x = to_float(pixels)
        for view, images in zip(range(views), (x, x.flip(-1)), strict=False):
            array[view, done : done + len(x)] = encoder.encode(images).half().cpu().numpy()
        done += len(x)
        advance(count=len(x))
        if monotonic() - saved > SAVE_EVERY:
            array.flush()
            write_json(record, {**known, "encoded": done})
            saved = monotonic()
    if "mean" not in known:
        mean, std = channel_moments(array)
        array.flush()
        known = {"made_from": made_from, "encoded": done, "mean": mean.tolist(), "std": std.tolist()}
        write_json(record, known)
    return LatentSource(array, torch.tensor(known["mean"]), torch.tensor(known["std"]))


def channel_moments(array: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of (views, N, C, H, W) per channel, in double precision, by chunks."""
    total, squares = torch.zeros(2, array.shape[2], dtype=torch.float64)
    for view in range(array.shape[0]):
        for start in range(0, array.shape[1], CHUNK):
            z = torch.from_numpy(array[view, start : start + CHUNK].astype(np.float64))
            total += z.sum((0, 2, 3))
            squares += z.square().sum((0, 2, 3))
    count = array.size / array.shape[2]
    mean = total / count
    return mean, (squares / count - mean.square()).clamp_min(1e-12).sqrt()
