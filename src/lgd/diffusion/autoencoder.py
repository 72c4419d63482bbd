"""Images to latents and back: pixels themselves, or any of three kinds of autoencoder, normalised per channel."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from lgd.config import Precision
from lgd.errors import UserError
from lgd.storage.files import copy_file, read_json, write_json

from . import diffusers_lazily as diffusers
from .autoencoder_networks import channels, factor, load_network, network_decode, network_encode, network_files

Shape = tuple[int, int, int]
"""(C, H, W)"""


class Pixels:
    """The identity autoencoder: a latent is the image in [-1, 1]."""

    def encode(self, images: Tensor) -> Tensor:
        return images * 2 - 1

    def decode(self, latents: Tensor, clamp: bool = True) -> Tensor:
        images = (latents + 1) / 2
        return images.clamp(0, 1) if clamp else images


@dataclass(frozen=True)
class Latents:
    """An autoencoder for images of `image_shape`, which it sees as RGB of its own size."""

    network: Any
    """TAEF2, AutoencoderKL or AutoencoderTiny, in eval mode"""
    image_shape: Shape
    size: int
    """height and width of the images that the network sees"""
    mean: tuple[float, ...]
    """of the network's latents, per channel; one value stands for all"""
    std: tuple[float, ...]

    @property
    def shape(self) -> Shape:
        side = self.size // factor(self.network)
        return channels(self.network), side, side

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] to latents; a distribution gives its mode. Grey images become RGB."""
        x = resize(images, self.size).expand(-1, 3, -1, -1)
        return (network_encode(self.network, x) - self._column(self.mean, x)) / self._column(self.std, x)

    def decode(self, latents: Tensor, clamp: bool = True) -> Tensor:
        """Latents to images of `image_shape`, in [0, 1] or, without `clamp`, about so."""
        z = latents * self._column(self.std, latents) + self._column(self.mean, latents)
        images = network_decode(self.network, z)
        images = resize(images.clamp(0, 1) if clamp else images, self.image_shape[1], clamp)
        return images if self.image_shape[0] == 3 else images.mean(1, keepdim=True)

    def normalised(self, mean: Sequence[float], std: Sequence[float]) -> Self:
        return replace(self, mean=tuple(mean), std=tuple(std))

    def _column(self, values: tuple[float, ...], like: Tensor) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=like.device).view(1, -1, 1, 1)


Autoencoder = Pixels | Latents
"""Takes images in [0, 1] to latents and back. `decode` is differentiable; guidance calls it without `clamp`, whose
gradient is zero where a pixel is clamped."""


def decode_at(autoencoder: Autoencoder, latents: Tensor, size: int) -> Tensor:
    """Decode latents for guidance to square images of `size` pixels, 0 those of the image set, without clamping."""
    if size and isinstance(autoencoder, Latents):
        autoencoder = replace(autoencoder, image_shape=(autoencoder.image_shape[0], size, size))
    images = autoencoder.decode(latents, clamp=False)
    return resize(images, size, clamp=False) if size else images


def resize(images: Tensor, size: int, clamp: bool = True) -> Tensor:
    """Square images in [0, 1] to another size: bicubic; where several pixels become exactly one, their mean.

    clamp: what bicubic weights carry out of [0, 1].
    """
    old = images.shape[-1]
    if old == size:
        return images
    if old % size == 0:
        return F.avg_pool2d(images, old // size)
    resized = F.interpolate(images, (size, size), mode="bicubic", antialias=old > size)
    return resized.clamp(0, 1) if clamp else resized


def open_latents(folder: Path, image_shape: Shape, size: int = 0, precision: Precision = "float32") -> Latents:
    """The autoencoder in `folder`, not normalised, for images of `image_shape`, which it is to see at `size` pixels.

    size: 0 leaves the images as large as they are. Errors: UserError, also for a size that it cannot halve.
    """
    network = load_network(folder, precision)
    size = size or image_shape[1]
    if image_shape[1] != image_shape[2] or size % factor(network):
        raise UserError(f"{folder}: takes square images of a multiple of {factor(network)} pixels, not of {size}")
    return Latents(network, image_shape, size, (0.0,), (1.0,))


def small_decoder(folder: Path, own: Autoencoder, precision: Precision = "float32") -> Latents:
    """Another network that decodes the latents of `own`, cheaper and less exactly.

    An AutoencoderTiny is made for the scaled latents of the AutoencoderKL whose part it takes. Errors: UserError when
    its latents have other channels, or `own` makes pixels.
    """
    if not isinstance(own, Latents):
        raise UserError(f"{folder}: decodes latents for guidance; the generator makes pixels, so there are none")
    network = load_network(folder, precision)
    if channels(network) != channels(own.network):
        raise UserError(
            f"{folder}: decodes latents of {channels(network)} channels; the generator's have {channels(own.network)}"
        )
    mean, std = own.mean, own.std
    if isinstance(network, diffusers.AutoencoderTiny) and isinstance(own.network, diffusers.AutoencoderKL):
        shift, scale = own.network.config.shift_factor or 0.0, own.network.config.scaling_factor
        mean, std = tuple((m - shift) * scale for m in mean), tuple(s * scale for s in std)
    return replace(own, network=network, mean=mean, std=std)


def save_latents(autoencoder: Latents, source: Path, folder: Path) -> None:
    for file in network_files(source):
        copy_file(file, folder / "autoencoder" / file.name)
    values = {"image_size": autoencoder.size, "mean": list(autoencoder.mean), "std": list(autoencoder.std)}
    write_json(folder / "latents.json", values)


def load_latents(folder: Path, image_shape: Shape | None = None, precision: Precision = "float32") -> Latents:
    """Read what `save_latents` wrote; images are RGB of the network's size by default. Errors: UserError."""
    network = load_network(folder / "autoencoder", precision)
    path = folder / "latents.json"
    values = read_json(path)
    try:
        size, mean, std = int(values["image_size"]), *(tuple(map(float, values[key])) for key in ("mean", "std"))
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path}: needs image_size, mean and std") from None
    if not len(mean) == len(std) == channels(network) or min(std) <= 0 or size < 1 or size % factor(network):
        raise UserError(
            f"{path}: does not fit an autoencoder of {channels(network)} channels, {factor(network)} times smaller"
        )
    return Latents(network, image_shape or (3, size, size), size, mean, std)
