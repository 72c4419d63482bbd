"""The networks trained on the whole real set: the reference, which guides, and the judge, which measures images.

The judge has another architecture and seed than the reference and takes no part in guidance or in the choice between
candidates, so that its numbers say something about both.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from torch import Tensor

from lgd.classifiers.architectures import Classifier, features_and_logits
from lgd.classifiers.train import load_classifier
from lgd.config import ClassifierConfig, DatasetConfig
from lgd.data.imageset import ImageSet
from lgd.data.splits import cached_splits

from .recipe import Assets


def load_judge(assets: Assets) -> Classifier:
    """Load the judge of an assets directory, on its device. Errors: UserError for a missing or corrupt file."""
    return load_classifier(assets.judge_file, assets.judge, cached_splits(assets.dataset).train, assets.device)


def load_reference(assets: Assets) -> Classifier:
    """Load the reference of an assets directory, on its device. Errors: UserError for a missing or corrupt file."""
    return load_classifier(assets.reference_file, assets.reference, cached_splits(assets.dataset).train, assets.device)


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
