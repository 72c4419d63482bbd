"""The networks trained on the whole real set: the reference, which guides, and the judge, which measures images.

The judge has another architecture and seed than the reference and takes no part in guidance or in the choice between
candidates, so that its numbers say something about both. A third, independent network calibrates guidance and gives
coverage its features: it has the judge's architecture and a seed of its own, so that neither depends on it.
"""

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
    """Load the judge of an assets directory. Errors: as `load_network`."""
    return load_network(assets, assets.judge_file, assets.judge)


def load_reference(assets: Assets) -> Classifier:
    """Load the reference of an assets directory. Errors: as `load_network`."""
    return load_network(assets, assets.reference_file, assets.reference)


def load_network(assets: Assets, file: Path, network: ClassifierConfig) -> Classifier:
    """Load a classifier of the real classes onto the device, the same one until its file changes.

    Errors: UserError for a missing or corrupt file.
    """
    return _network(file, version_of(file), network, assets.dataset, assets.device)


@lru_cache(maxsize=8)
def _network(file: Path, version: int, network: ClassifierConfig, dataset: DatasetConfig, device: str) -> Classifier:
    return load_classifier(file, network, cached_splits(dataset).train, device)


def version_of(path: Path) -> int:
    """Return a number that changes when a file is made again, so that no process keeps an old network."""
    return path.stat().st_mtime_ns if path.exists() else 0


def accuracies_on_test(assets: Assets) -> dict[str, float]:
    """Measure the judge and the reference on the real test images, in percent, once per process and network."""
    networks = {"judge": load_judge(assets), "reference": load_reference(assets)}
    return {name: accuracy_on_test(network, assets.dataset) for name, network in networks.items()}


@lru_cache(maxsize=2)
def accuracy_on_test(network: Classifier, dataset: DatasetConfig) -> float:
    """Measure a network on the real test images, in percent, once per process: with thousands it takes minutes."""
    return accuracy(network, cached_splits(dataset).test)


@lru_cache(maxsize=2)
def real_outputs(network: Classifier, dataset: DatasetConfig, label: int | None = None) -> tuple[Tensor, Tensor]:
    """Compute a network's features (N, D) and logits (N, classes) of the real training images, or of a class's.

    The process keeps the last two results, so that orders and losses of one class take one pass.
    """
    train = cached_splits(dataset).train
    return features_and_logits(network, train if label is None else train.subset(train.indices_of(label)))


def make_independent(assets: Assets, folder: Path, train: ImageSet, advance: Callable[[], None]) -> None:
    """Train the independent network on the real images and save it. advance: called after every epoch."""
    seed, file = derive_seed("independent", assets.judge.seed), folder / assets.independent_file.name
    train_and_save(file, assets.judge, train, seed, assets.device, advance)
