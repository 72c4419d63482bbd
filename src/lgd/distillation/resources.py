"""The networks and latents that a method samples with, loaded once per process, and work in batches that fit."""

from collections.abc import Callable
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from lgd.classifiers.architectures import Classifier
from lgd.config import DatasetConfig, GeneratorConfig, SamplingConfig, SurrogateConfig
from lgd.data.imageset import Splits
from lgd.data.splits import cached_splits
from lgd.diffusion.autoencoder import Autoencoder, small_decoder
from lgd.diffusion.folder import open_generator
from lgd.diffusion.generator import Generator
from lgd.errors import is_out_of_memory
from lgd.guidance.influence import Surrogate

from .judge import load_network, load_reference, real_outputs, version_of
from .recipe import Growth
from .store import read_latents
from .surrogate import load_surrogate, surrogate_images

R = TypeVar("R", Tensor, tuple[Tensor, ...])


class Resources:
    """Everything that a method may use to make one group of classes of one increment, loaded when first asked for."""

    def __init__(self, growth: Growth, increment: int, classes: range) -> None:
        self.growth = growth
        self.assets = growth.assets
        self.config = growth.settled(increment)
        self.increment = increment
        self.classes = classes
        """labels of this unit"""
        self.device = growth.assets.device
        self.batch_size = self.config.sampling.batch_size
        """most images at once; lowered when memory runs out"""

    @cached_property
    def splits(self) -> Splits:
        return cached_splits(self.assets.dataset)

    @cached_property
    def generator(self) -> Generator:
        assets, folder = self.assets, self.assets.generator_folder
        version = version_of(folder / "done")
        return _generator(folder, version, assets.generator, assets.dataset, self.device, self.config.sampling)

    @cached_property
    def guiding(self) -> Autoencoder:
        """The decoder that guidance differentiates, which may be a small one. Errors: UserError."""
        generator, sampling = self.generator, self.config.sampling
        if not self.config.guidance.decoder:
            return generator.autoencoder
        decoder = small_decoder(Path(self.config.guidance.decoder), generator.autoencoder, sampling.precision)
        decoder.network.to(generator.device)
        return decoder

    @cached_property
    def reference(self) -> Classifier:
        return load_reference(self.assets)

    @cached_property
    def independent(self) -> Classifier:
        """The network of calibration and, by default, of coverage, which takes no part in guidance."""
        return load_network(self.assets, self.assets.independent_file, self.assets.judge)

    @property
    def covering(self) -> Classifier:
        """The network in whose features coverage measures."""
        return self.reference if self.config.stages.coverage_network == "reference" else self.independent

    @cached_property
    def learners(self) -> list[Classifier]:
        files = self.growth.learner_files(self.increment)
        return [load_network(self.assets, file, self.growth.learner) for file in files]

    @cached_property
    def surrogate(self) -> Surrogate:
        """The surrogate of influence guidance, with the class gradients of this unit's classes."""
        assets, folder = self.assets, self.assets.surrogate_folder
        version = version_of(folder / "checkpoints.json")
        return _surrogate(folder, version, assets.surrogate, assets.dataset, self.classes, self.device)

    def real_outputs(self, label: int) -> tuple[Tensor, Tensor]:
        """Return the reference's features (N, D) and logits (N, classes) of a class's training images, on the CPU."""
        return real_outputs(self.reference, self.assets.dataset, label)

    def memory(self) -> dict[int, Tensor]:
        """Return the latents of this unit's classes in earlier increments, oldest first, (M, C, H, W) each."""
        earlier = [read_latents(folder) for folder in self.growth.run.increments(self.increment - 1)]
        own = {label: self.growth.class_names[label] for label in self.classes}
        parts = {label: [latents[name] for latents in earlier if name in latents] for label, name in own.items()}
        return {label: torch.cat(items) if items else torch.empty(0) for label, items in parts.items()}


def in_batches(work: Callable[[slice], R], count: int, resources: Resources) -> R:
    """Call `work` on slices of 0 .. count - 1, of at most `resources.batch_size` items, and concatenate its results.

    work: takes a slice of B items and returns a tensor (B, ...) or a tuple of them. A batch that runs out of memory is
    halved and done again, and so are those after it, so `work` must not change what its repetition reads. Errors: the
    one of a single item that does not fit.
    """
    done: list[Any] = []
    start = 0
    while start < count:
        stop = min(start + resources.batch_size, count)
        try:
            done.append(work(slice(start, stop)))
        except (RuntimeError, MemoryError) as error:
            if stop - start == 1 or not is_out_of_memory(error):
                raise
            resources.batch_size = (stop - start + 1) // 2
        else:
            start = stop
            continue
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # after the failed batch has left the frame of the error
    joined: Any = torch.cat(done) if isinstance(done[0], Tensor) else tuple(map(torch.cat, zip(*done, strict=True)))
    return joined


@lru_cache(maxsize=2)
def _generator(
    folder: Path, version: int, config: GeneratorConfig, dataset: DatasetConfig, device: str, sampling: SamplingConfig
) -> Generator:
    train = cached_splits(dataset).train
    generator = open_generator(config, folder, train.class_names, train.shape, device, sampling.precision)
    if sampling.compile:
        generator.denoiser.compile()
    return generator


@lru_cache(maxsize=2)
def _surrogate(
    folder: Path, version: int, config: SurrogateConfig, dataset: DatasetConfig, classes: range, device: str
) -> Surrogate:
    return load_surrogate(folder, config, surrogate_images(config, dataset), classes, device)
