"""Decide about random crops and flips by a short validation on a part of the training images."""

from dataclasses import dataclass, replace

from lgd.classifiers.train import accuracy, train_classifier
from lgd.config import Config
from lgd.data.imageset import ImageSet, stratified_split
from lgd.execution.hardware import cpu_threads

VALIDATION_EPOCHS = 6
"""least epochs of a short training; its images are fewer where the time does not suffice for all"""


@dataclass(frozen=True)
class Augmentation:
    """The outcome of the short validation."""

    crops: bool
    flips: bool
    accuracy: float
    """share of the held-out images, with the chosen augmentation"""


def augmentation(train: ImageSet, config: Config, images: float, device: str) -> Augmentation:
    """Decide about random crops and flips by three short trainings of the reference on a part of the training images.

    images: how many images the trainings may see together. Crops, and then flips, are kept unless the accuracy on
    held-out images falls by more than its standard error: they pay in longer trainings only.
    """
    part, held = stratified_split(train, 0.2, 0)
    each = images / 3
    part, held = first(part, max(50, int(each / VALIDATION_EPOCHS))).to(device), first(held, 1000).to(device)
    epochs = max(1, min(config.reference.training.epochs, int(each / len(part))))

    def reached(padding: int, flip: bool) -> float:
        training = replace(config.reference.training, epochs=epochs, crop_padding=padding, flip=flip)
        return accuracy(train_classifier(part, replace(config.reference, training=training), 0), held) / 100

    with cpu_threads(1):
        padding = config.reference.training.crop_padding
        plain, cropped = reached(0, False), reached(padding, False)
        crops = no_worse(cropped, plain, len(held))
        before = cropped if crops else plain
        flipped = reached(padding if crops else 0, True)
    flips = no_worse(flipped, before, len(held))
    return Augmentation(crops, flips, flipped if flips else before)


def no_worse(new: float, old: float, count: int) -> bool:
    """Return whether an accuracy on `count` images is at least another less its standard error."""
    return new >= old - (old * (1 - old) / count) ** 0.5


def first(images: ImageSet, most: int) -> ImageSet:
    """Return `most` images, spread evenly over the set."""
    count = min(most, len(images))
    return images.subset([index * len(images) // count for index in range(count)])
