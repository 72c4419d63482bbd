"""The networks trained on the whole real set: the reference, which guides, and the judge, which measures images.

The judge has another architecture and seed than the reference and takes no part in guidance or in the choice between
candidates, so that its numbers say something about both. A third, independent network calibrates guidance and gives
coverage its features: it has the judge's architecture and a seed of its own, so that neither depends on it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from torch import Tensor

from lgd.classifiers.architectures import Classifier, features_and_logits
from lgd.classifiers.train import accuracy, load_classifier, train_and_save
from lgd.config import ClassifierConfig, DatasetConfig
from lgd.data.imageset import ImageSet
from lgd.data.splits import cached_splits
from lgd.rng import derive_seed

from .recipe import Assets


def load_judge(assets: Assets) -> Classifier:
    """Load the judge of an assets directory, on its device. Errors: UserError for a missing or corrupt file."""
    return load_classifier(assets.judge_file, assets.judge, cached_splits(assets.dataset).train, assets.device)


def load_reference(assets: Assets) -> Classifier:
    """Load the reference of an assets directory, on its device. Errors: UserError for a missing or corrupt file."""
    return load_classifier(assets.reference_file, assets.reference, cached_splits(assets.dataset).train, assets.device)


def accuracies_on_test(assets: Assets) -> dict[str, float]:
    """Measure the judge and the reference on the real test images, in percent, once per process and network."""
    networks = {"judge": (assets.judge_file, assets.judge), "reference": (assets.reference_file, assets.reference)}
    return {
        name: _accuracy_on_test(file, file.stat().st_mtime_ns, network, assets.dataset, assets.device)
        for name, (file, network) in networks.items()
    }


@lru_cache(maxsize=2)
def _accuracy_on_test(
    file: Path, version: int, network: ClassifierConfig, dataset: DatasetConfig, device: str
) -> float:
    splits = cached_splits(dataset)
    return accuracy(load_classifier(file, network, splits.train, device), splits.test)


def judged(assets: Assets, images: ImageSet) -> tuple[Tensor, Tensor]:
    """Compute the judge's features (N, D) and logits (N, classes) of images, in batches, on the CPU."""
    return features_and_logits(load_judge(assets), images)


def judged_real(assets: Assets) -> tuple[Tensor, Tensor]:
    """Compute the same of all real training images, (M, D) and (M, classes), once per process and judge."""
    file = assets.judge_file
    return _judged_real(file, file.stat().st_mtime_ns, assets.judge, assets.dataset, assets.device)


@lru_cache(maxsize=1)
def _judged_real(
    file: Path, version: int, network: ClassifierConfig, dataset: DatasetConfig, device: str
) -> tuple[Tensor, Tensor]:
    train = cached_splits(dataset).train
    return features_and_logits(load_classifier(file, network, train, device), train)


def make_independent(assets: Assets, folder: Path, train: ImageSet, advance: Callable[[], None]) -> None:
    """Train the independent network on the real images and save it. advance: called after every epoch."""
    seed, file = derive_seed("independent", assets.judge.seed), folder / assets.independent_file.name
    train_and_save(file, assets.judge, train, seed, assets.device, advance)
