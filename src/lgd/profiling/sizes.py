"""The size of an image set that is on this machine, or that is only known by its numbers."""

from dataclasses import dataclass
from typing import Any

from lgd.config import Config
from lgd.data.splits import cached_splits
from lgd.errors import UserError

KNOWN_SETS = {"imagenet1k": (1000, 1_281_167, 50_000), "imagenette": (10, 12_894, 500), "imagewoof": (10, 12_954, 500)}
"""classes, training images and test images of the sets of presets"""
DIT_XL = {"num_layers": 28, "num_attention_heads": 16, "attention_head_dim": 72, "in_channels": 4, "out_channels": 8}
SD_1 = {"cross_attention_dim": 768, "sample_size": 64}
SD_2 = {"cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True}
PIPELINES: dict[str, tuple[str, dict[str, Any]]] = {
    "facebook/DiT-XL-2-256": ("dit", {**DIT_XL, "sample_size": 32}),
    "facebook/DiT-XL-2-512": ("dit", {**DIT_XL, "sample_size": 64}),
    "CompVis/stable-diffusion-v1-4": ("unet-text", SD_1),
    "stable-diffusion-v1-5/stable-diffusion-v1-5": ("unet-text", SD_1),
    "stabilityai/stable-diffusion-2-1-base": ("unet-text", {**SD_2, "sample_size": 64}),
    "stabilityai/stable-diffusion-2-1": ("unet-text", {**SD_2, "sample_size": 96}),
}
"""family and denoiser's configuration of published pipelines with Stable Diffusion's autoencoder"""
LARGEST_IN_MEMORY = 2**30
"""bytes of decoded images; larger sets are read from disk when they are needed"""


@dataclass(frozen=True)
class Sizes:
    """The size of an image set."""

    classes: int
    images: int
    """number of training images"""
    test: int
    """number of test images"""
    shape: tuple[int, int, int]
    """(C, H, W)"""
    loaded: bool
    """whether this process holds the images already"""

    @property
    def bytes(self) -> int:
        C, H, W = self.shape
        whole = (self.images + self.test) * C * H * W
        return whole if whole < LARGEST_IN_MEMORY else 0


def sizes_of(config: Config, classes: int, images: int, test: int) -> Sizes:
    """Return the size of the configured images, or of a set of the given numbers. Errors: UserError without either."""
    if config.dataset.source and not (classes or images):
        splits = cached_splits(config.dataset)
        names = splits.train.class_names
        return Sizes(len(names), len(splits.train), len(splits.test), splits.train.shape, loaded=True)
    known = KNOWN_SETS.get(config.name, (0, 0, 0))
    found = [given or value for given, value in zip((classes, images, test), known, strict=True)]
    if not found[0] or not found[1]:
        raise UserError("the images are not on this machine: give --dataset.source, or --classes and --images")
    side, channels = config.dataset.size or 32, config.dataset.channels or 3
    return Sizes(found[0], found[1], found[2] or found[1] // 10, (channels, side, side), loaded=False)
