"""The classifiers trained on the whole real set: the reference, or one brought by the user, and the judge."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from lgd.classifiers.architectures import Classifier
from lgd.classifiers.feature_map import feature_map, map_shape
from lgd.classifiers.train import accuracy, load_classifier, save_classifier, train_and_save
from lgd.config import ReferenceConfig, to_dict
from lgd.data.imageset import ImageSet, Splits
from lgd.data.splits import cached_splits
from lgd.diffusion.latents import Encoder
from lgd.distillation.judge import load_judge, load_reference
from lgd.distillation.recipe import Assets
from lgd.errors import UserError, naming
from lgd.execution.hardware import cpu_threads
from lgd.execution.units import Unit
from lgd.rng import derive_seed
from lgd.storage.files import sha256


def classifier_unit(assets: Assets, name: str) -> Unit:
    """Return the unit of work that makes the reference or the judge."""
    done, shards = assets.root / f"{name}.safetensors", getattr(assets, name).training.shards
    return Unit(name, make_classifier, (assets, name), done, shards)


def make_classifier(assets: Assets, name: str, advance: Callable[[], object] = lambda: None) -> None:
    """Train the reference or the judge, each with its own seed, or copy the user's own reference, and save it.

    advance: called after every epoch.
    """
    config, splits, file = getattr(assets, name), cached_splits(assets.dataset), assets.root / f"{name}.safetensors"
    with cpu_threads(assets.generator.threads), naming(name):
        if isinstance(config, ReferenceConfig) and config.weights:
            save_classifier(foreign_reference(config, splits, assets.device), file, config, splits.train)
        else:
            train_and_save(file, config, splits.train, derive_seed(name, config.seed), assets.device, advance)


def feature_maps_of(assets: Assets, train: ImageSet) -> Encoder:
    """Return what makes the reference's feature maps, for a generator that is aligned with them. Errors: UserError."""
    reference = load_reference(assets)

    def encode(images: Tensor) -> Tensor:
        with torch.no_grad():
            return feature_map(reference, images.to(assets.device))

    made_from = {"dataset": to_dict(assets.dataset), "reference": sha256(assets.reference_file)}
    return Encoder(encode, map_shape(assets.reference, train.shape, len(train.class_names)), made_from)


def foreign_reference(config: ReferenceConfig, splits: Splits, device: str) -> Classifier:
    """Load the user's own reference. Errors: UserError for another network, or one hardly better than guessing."""
    path, train, names = Path(config.weights), splits.train, splits.class_order
    reference = load_classifier(path, config, train, device, names)
    sample = train.subset(torch.linspace(0, len(train) - 1, min(len(train), 1000)).long())
    found = accuracy(reference, sample)
    if hardly_above_chance(found, len(names)):
        some = ", ".join(names[:5]) + ", ..." * (len(names) > 5)
        raise UserError(
            f"{path}: recognises {found:.1f} % of the training images; are its classes {some} in this order, and its"
            " images in [0, 1] normalised as reference.training says?"
        )
    return reference


def hardly_above_chance(found: float, classes: int) -> bool:
    """Return whether an accuracy in percent is less than a tenth of the way from guessing to perfect."""
    chance = 100 / classes
    return found < chance + (100 - chance) / 10


def guessing_warning(assets: Assets, judged: bool) -> str:
    """Return a warning when the reference hardly recognises the real test images, else an empty string.

    judged: whether there is a judge, of which the same is said.
    """
    test, classes = cached_splits(assets.dataset).test, len(cached_splits(assets.dataset).train.class_names)
    networks = {"reference": load_reference, **({"judge": load_judge} if judged else {})}
    found = {name: accuracy(load(assets), test) for name, load in networks.items()}
    low = {name: share for name, share in found.items() if hardly_above_chance(share, classes)}
    if not low:
        return ""
    uses = {"reference": "guidance and selection", "judge": "validity, FID, precision and recall"}
    shares = " and ".join(f"the {name} recognises only {share:.1f} %" for name, share in low.items())
    return (
        f"warning: {shares} of the {len(test)} real test images (guessing: {100 / classes:.1f} %), so"
        f" {', '.join(uses[name] for name in low)} say little. If the images show their classes, train longer"
        f" ({', '.join(f'{name}.training.epochs' for name in low)})"
    )
