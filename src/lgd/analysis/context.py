"""The inputs of the measures: a set, the real images, the judge and the reference, each read once per process."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from lgd.classifiers.architectures import Classifier, features_of
from lgd.config import ClassifierConfig, Count, Whole
from lgd.data.imageset import ImageSet, Splits
from lgd.data.splits import cached_splits
from lgd.distillation.judge import load_judge, load_reference
from lgd.distillation.recipe import Assets
from lgd.rng import generator

from .inputs import AnalysedSet, load_set


@dataclass(frozen=True)
class AnalysisConfig:
    """The settings of an analysis."""

    seeds: Count = 3
    """fresh classifiers for every training"""
    epochs: Annotated[int, Field(ge=2, le=10**6)] = 50
    """of the learning dynamics, and of each stage of incremental training"""
    increments: Count = 5
    """parts that a plain folder is split into"""
    split_seed: Whole = 0
    """of that split"""
    real_limit: Count = 10_000
    """largest number of real images, a random sample, for dynamics, FID, KID, precision and recall"""


@dataclass(frozen=True)
class AnalysisContext:
    """The settings that all computations of an analysis share. It is small, so that it travels to worker processes."""

    assets: Assets
    """the real images, the judge and the reference"""
    classifier: ClassifierConfig
    """the evaluation classifier, which the measures train"""
    config: AnalysisConfig


@dataclass(frozen=True)
class Inputs:
    """The inputs of one computation of a measure."""

    context: AnalysisContext
    analysed: AnalysedSet
    seed: int = 0
    increment: int = 0
    """position of the increment to compute from, for measures computed per increment"""

    @property
    def increments(self) -> tuple[ImageSet, ...]:
        return self.analysed.increments

    @property
    def images(self) -> ImageSet:
        return self.analysed.images

    @property
    def real(self) -> Splits:
        return cached_splits(self.context.assets.dataset)

    @property
    def judge(self) -> Classifier:
        """The network that had no part in making the set."""
        return load_judge(self.context.assets)

    @property
    def reference(self) -> Classifier:
        return load_reference(self.context.assets)

    @property
    def features(self) -> Tensor:
        """The judge's last features of the set's images, (N, D)."""
        return set_features(self.context, self.analysed)

    @property
    def real_features(self) -> Tensor:
        """The same of the real images, or of a sample of them, (M, D)."""
        return set_features(self.context, real_sample(self.context)[1])


@lru_cache(maxsize=1)
def real_sample(context: AnalysisContext) -> tuple[Tensor, AnalysedSet]:
    """Return the positions of the real images to compute from, the same for every set, and the images."""
    real, limit = cached_splits(context.assets.dataset).train, context.config.real_limit
    if len(real) <= limit:
        return torch.arange(len(real)), AnalysedSet((real,))
    places = torch.randperm(len(real), generator=generator("analysis", "real sample"))[:limit].sort().values
    return places, AnalysedSet((real.subset(places),))


@lru_cache(maxsize=4)
def set_features(context: AnalysisContext, analysed: AnalysedSet) -> Tensor:
    """Compute the judge's last features of a set's images, (N, D), on the CPU."""
    return features_of(load_judge(context.assets), analysed.images)


def forget() -> None:
    """Empty the caches of this file and of `load_set`: files may have changed since an earlier analysis."""
    for cached in (load_set, real_sample, set_features):
        cached.cache_clear()
