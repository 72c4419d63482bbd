"""PyTorch's tensor files, for DD-Ranking."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lgd.storage.files import write_file, write_json

from .samples import Advance, Export

if TYPE_CHECKING:
    from torch import Tensor

NORMALISATION = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
"""what DD-Ranking normalises its real images with; it takes synthetic tensors as they are"""


def write_pt(export: Export, root: Path, advance: Advance) -> str:
    """Write images.pt, float32 (N, C, H, W) sorted by class, and labels.pt, as DD-Ranking loads them.

    labels.pt holds soft labels (N, classes) where there are any, else int64 (N,); hard_labels.pt always the latter.
    """
    import torch

    from lgd.data.folder import decode_image
    from lgd.data.imageset import to_float

    order = sorted(range(len(export.samples)), key=lambda i: export.samples[i].label)
    images = []
    for i in order:
        images.append(decode_image(export.samples[i].path))
        advance()
    values = to_float(torch.stack(images))
    statistics = normalisation(export)
    if statistics is not None:
        mean, std = (torch.tensor(one).view(1, -1, 1, 1) for one in statistics)
        values = (values - mean) / std
    hard = torch.tensor([export.samples[i].label for i in order])
    soft = hard if export.soft_labels is None else export.soft_labels[order].clone()
    for name, tensor in (("images", values), ("hard_labels", hard), ("labels", soft)):
        write_file(root / f"{name}.pt", partial(_save, tensor))
    write_json(root / "classes.json", list(export.class_names))
    scale = f"normalised by mean {statistics[0]} and std {statistics[1]}" if statistics else "in [0, 1]"
    return f"`torch.load` of images.pt, {scale}, sorted by class, and of labels.pt, as DD-Ranking takes them."


def _save(tensor: Tensor, path: Path) -> None:
    """Save through a file of ours: torch does not say that a disk is full."""
    import torch

    with path.open("wb") as file:
        torch.save(tensor, file)


def normalisation(export: Export) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Return the mean and std per channel that DD-Ranking expects of this dataset; None leaves images in [0, 1]."""
    from lgd.data.folder import decode_image

    if decode_image(export.samples[0].path).shape[0] != 3:
        return None
    source = str(export.config["dataset"]["source"])
    return NORMALISATION["cifar10" if source.startswith("cifar") else "imagenet"]
