"""PyTorch's tensor files, for DD-Ranking."""

from functools import partial
from pathlib import Path

from lgd.errors import UserError
from lgd.storage.files import write_json, write_stream

from .samples import Advance, Export

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""mean and standard deviation per channel, of values in [0, 1]"""

NORMALISATION: dict[str, Statistics | None] = {
    "cifar": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "none": None,
}
"""what DD-Ranking normalises real images with, by the name in --statistics; it takes synthetic tensors as they are"""


def write_pt(export: Export, root: Path, advance: Advance) -> str:
    """Write images.pt, float32 (N, C, H, W) sorted by class, and labels.pt, as DD-Ranking loads them.

    labels.pt holds the logits of soft labels (N, classes), whose softmax DD-Ranking takes, where there are any, else
    int64 (N,); hard_labels.pt always the latter. normalisation.json tells `lgd.load` the mean and std of normalised
    images. Errors: UserError for statistics that do not fit.
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
    statistics = normalisation(export, tuple(values.shape[1:]))
    if statistics is not None:
        mean, std = (torch.tensor(one).view(1, -1, 1, 1) for one in statistics)
        values = (values - mean) / std
    hard = torch.tensor([export.samples[i].label for i in order])
    soft = hard if export.logits is None else export.logits[order].clone()
    for name, tensor in (("images", values), ("hard_labels", hard), ("labels", soft)):
        write_stream(root / f"{name}.pt", partial(torch.save, tensor))
    write_json(root / "classes.json", list(export.class_names))
    if statistics:
        write_json(root / "normalisation.json", dict(zip(("mean", "std"), statistics, strict=True)))
    scale = f"normalised by mean {statistics[0]} and std {statistics[1]}" if statistics else "in [0, 1]"
    return f"`torch.load` of images.pt, {scale}, sorted by class, and of labels.pt, as DD-Ranking takes them."


def normalisation(export: Export, shape: tuple[int, ...]) -> Statistics | None:
    """Return the statistics that were asked for, or those of the data set; None leaves images in [0, 1].

    shape: (C, H, W) of the images. By itself CIFAR is known by its preset's name or, at 32 pixels, by the names of its
    classes; other RGB images take ImageNet's, and grey ones none, as DD-Ranking has no data set of them.
    """
    if export.statistics:
        return given(export.statistics, shape[0])
    if shape[0] != 3:
        return None
    from lgd.data.class_names import read_list

    names = {name.lower().replace(" ", "_") for name in export.class_names}
    by_classes = shape[1:] == (32, 32) and any(names <= set(read_list(known)) for known in ("cifar10", "cifar100"))
    cifar = by_classes or str(export.config["name"]).startswith("cifar")
    return NORMALISATION["cifar" if cifar else "imagenet"]


def given(text: str, channels: int) -> Statistics | None:
    """Return the statistics of a name, or the numbers MEAN,.../STD,... of each channel. Errors: UserError."""
    if text in NORMALISATION:
        statistics = NORMALISATION[text]
    else:
        try:
            mean, std = (tuple(float(value) for value in part.split(",")) for part in text.split("/"))
        except ValueError:
            raise UserError(
                f"--statistics: {text!r} is none of {', '.join(NORMALISATION)}, nor MEAN,MEAN,MEAN/STD,STD,STD"
            ) from None
        statistics = mean, std
    if statistics is not None and not (len(statistics[0]) == len(statistics[1]) == channels and min(statistics[1]) > 0):
        raise UserError(
            f"--statistics: {text!r} is not a mean and a positive deviation for each of {channels} channels"
        )
    return statistics
