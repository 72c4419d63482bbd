"""Small pictures of the candidates that were not kept: RUN/increments/02/rejected/<class>/02-0001.safetensors"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from lgd.storage.files import load_tensors, save_tensors

SIDE = 64
"""pixels of a picture, at most"""


def rejected_file(folder: Path, file: str) -> Path:
    """Return the path of the pictures. folder: of the increment; file: of the kept image, relative to it."""
    return folder / "rejected" / f"{file.removesuffix('.png')}.safetensors"


def write_rejected(folder: Path, file: str, images: Sequence[Tensor]) -> None:
    """Write images, each uint8 (C, H, W), scaled down to `SIDE` pixels; write nothing if there are none."""
    if images:
        save_tensors(rejected_file(folder, file), {"images": torch.stack([small(image) for image in images])})


def read_rejected(folder: Path, file: str) -> Tensor | None:
    """Read the pictures, uint8 (N, C, h, w), in the order of the candidates; None where the run stored none."""
    path = rejected_file(folder, file)
    return load_tensors(path)["images"] if path.is_file() else None


def small(image: Tensor) -> Tensor:
    if max(image.shape[1:]) <= SIDE:
        return image
    scaled = F.interpolate(image[None].float(), (SIDE, SIDE), mode="bilinear", antialias=True)
    return scaled[0].round().to(torch.uint8)
