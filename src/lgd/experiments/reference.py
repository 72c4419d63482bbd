"""The classifiers trained on the whole real set: the reference, or one brought by the user, and the judge."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lgd.classifiers.architectures import Classifier
from lgd.classifiers.train import accuracy, load_foreign_classifier, save_classifier, train_and_save
from lgd.config import ReferenceConfig
from lgd.data.imageset import Splits
from lgd.data.splits import cached_splits
from lgd.distillation.judge import load_judge, load_reference
from lgd.distillation.recipe import Assets
from lgd.errors import UserError, naming
from lgd.execution.hardware import cpu_threads
from lgd.execution.units import Unit
from lgd.rng import derive_seed


def reference_unit(assets: Assets) -> Unit:
    done = assets.reference_file
    return Unit("reference", make_reference, (assets,), done, assets.reference.training.shards)


def make_reference(assets: Assets, advance: Callable[[], object] = lambda: None) -> None:
    """Train the reference, or copy the user's own, and save it. advance: called after every epoch."""
    wanted, splits, file = assets.reference, cached_splits(assets.dataset), assets.reference_file
    with cpu_threads(assets.generator.threads), naming("reference"):
        if wanted.weights:
            save_classifier(foreign_reference(wanted, splits, assets.device), file, wanted, splits.train)
        else:
            seed = derive_seed("reference", wanted.seed)
            train_and_save(file, wanted, splits.train, seed, assets.device, advance)


def judge_unit(assets: Assets) -> Unit:
    return Unit("judge", make_judge, (assets,), assets.judge_file, assets.judge.training.shards)


def make_judge(assets: Assets, advance: Callable[[], object] = lambda: None) -> None:
    """Train the judge on the reference's images, with another seed, and save it. advance: as `make_reference`."""
    train, seed = cached_splits(assets.dataset).train, derive_seed("judge", assets.judge.seed)
    with cpu_threads(assets.generator.threads), naming("judge"):
        train_and_save(assets.judge_file, assets.judge, train, seed, assets.device, advance)


def foreign_reference(config: ReferenceConfig, splits: Splits, device: str) -> Classifier:
    """Load the user's own reference. Errors: UserError for another network, or one hardly better than guessing."""
    path, train, names = Path(config.weights), splits.train, splits.class_order
    reference = load_foreign_classifier(path, config, train, names, device)
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


def reference_metrics(assets: Assets) -> dict[str, Any]:
    """Return the reference's accuracy in percent on the test images, and their number."""
    test = cached_splits(assets.dataset).test
    return {"accuracy": accuracy(load_reference(assets), test), "images": len(test)}
