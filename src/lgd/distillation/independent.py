"""The independent network: it calibrates guidance and gives coverage its features.

It has the judge's architecture and a seed of its own, so that neither guidance nor the judge's verdict depends on it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lgd.classifiers.train import save_classifier, train_classifier
from lgd.data.imageset import ImageSet
from lgd.rng import derive_seed

from .recipe import Assets


def make_independent(assets: Assets, folder: Path, train: ImageSet, advance: Callable[[], None]) -> None:
    """Train the independent network on the real images and save it. advance: called after every epoch."""
    seed = derive_seed("independent", assets.judge.seed)
    network = train_classifier(train, assets.judge, seed, assets.device, watch=lambda *_: advance())
    save_classifier(network, folder / assets.independent_file.name, assets.judge, train)
