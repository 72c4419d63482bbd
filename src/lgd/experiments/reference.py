"""The reference classifier: trained on the whole real set, or brought by the user."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lgd.classifiers.architectures import Classifier
from lgd.classifiers.train import (
    accuracy,
    load_classifier,
    load_foreign_classifier,
    save_classifier,
    train_classifier,
)
from lgd.config import ReferenceConfig
from lgd.data.imageset import Splits
from lgd.data.splits import cached_splits
from lgd.distillation.recipe import Assets
from lgd.errors import UserError, naming
from lgd.execution.hardware import cpu_threads
from lgd.execution.units import Unit
from lgd.rng import derive_seed


def reference_unit(assets: Assets) -> Unit:
    """Return the unit that makes the reference of an assets directory."""
    done = assets.reference_file
    return Unit("reference", make_reference, (assets,), done, assets.reference.training.shards)


def make_reference(assets: Assets, advance: Callable[[], object] = lambda: None) -> None:
    """Train the reference, or copy the user's own, and save it. advance: called after every epoch."""
    wanted, splits = assets.reference, cached_splits(assets.dataset)
    with cpu_threads(assets.generator.threads):
        if wanted.weights:
            reference = foreign_reference(wanted, splits, assets.device)
        else:
            seed = derive_seed("reference", wanted.seed)
            with naming("reference"):
                reference = train_classifier(splits.train, wanted, seed, assets.device, watch=lambda *_: advance())
    save_classifier(reference, assets.reference_file, wanted, splits.train)


def foreign_reference(config: ReferenceConfig, splits: Splits, device: str) -> Classifier:
    """Load the user's own reference. Errors: UserError for another network, or one hardly better than guessing."""
    path, train, names = Path(config.weights), splits.train, splits.class_order
    reference = load_foreign_classifier(path, config, train, names, device)
    sample = train.subset(torch.linspace(0, len(train) - 1, min(len(train), 1000)).long())
    found, chance = accuracy(reference, sample), 100 / len(names)
    if found < chance + (100 - chance) / 10:
        some = ", ".join(names[:5]) + ", ..." * (len(names) > 5)
        raise UserError(
            f"{path}: recognises {found:.1f} % of the training images; are its classes {some} in this order, and its"
            " images in [0, 1] normalised as reference.training says?"
        )
    return reference


def load_reference(assets: Assets) -> Classifier:
    """Load the reference of an assets directory. Errors: UserError for a missing or corrupt file."""
    return load_classifier(assets.reference_file, assets.reference, cached_splits(assets.dataset).train)


def reference_metrics(assets: Assets) -> dict[str, Any]:
    """Return the reference's accuracy in percent on the test images, and their number."""
    test = cached_splits(assets.dataset).test
    return {"accuracy": accuracy(load_reference(assets), test), "images": len(test)}
