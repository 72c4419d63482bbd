"""What the units of a run read from disk, loaded once per process."""

from __future__ import annotations

from functools import cached_property, lru_cache
from pathlib import Path

import torch
from torch import Tensor

from lgd.classifiers.architectures import Classifier
from lgd.classifiers.train import load_classifier
from lgd.config import Config, DatasetConfig, GeneratorConfig, SamplingConfig
from lgd.data.imageset import Splits
from lgd.data.splits import cached_splits
from lgd.diffusion.autoencoder import Autoencoder, small_decoder
from lgd.diffusion.folder import open_generator
from lgd.diffusion.generator import Generator
from lgd.execution.hardware import resolve_device
from lgd.guidance.influence import Surrogate

from .store import Run, read_latents
from .surrogate import load_surrogate, surrogate_images


class Resources:
    """Everything a method may use to draw one group of classes of one increment; loaded when first asked for.

    assets: the directory that holds `generator/`, `reference.safetensors` and `surrogate/`; several runs may share it.
    """

    def __init__(self, config: Config, run: Run, assets: Path, increment: int, classes: range) -> None:
        self.config = config
        self.run = run
        self.assets = assets
        self.increment = increment
        self.classes = classes
        """labels of this unit"""
        self.device = resolve_device(config.compute.device)
        self.batch_size = config.sampling.batch_size
        """most images at once; lowered when memory runs out"""

    @cached_property
    def splits(self) -> Splits:
        return cached_splits(self.config.dataset)

    @cached_property
    def generator(self) -> Generator:
        folder = self.assets / "generator"
        config = self.config
        version = _version(folder / "done")
        return _generator(folder, version, config.generator, config.dataset, self.device, config.sampling)

    @cached_property
    def guiding(self) -> Autoencoder:
        """What decodes for guidance; what is stored is decoded by the generator's own. Errors: as `guiding_decoder`."""
        return guiding_decoder(self.config, self.generator)

    @cached_property
    def reference(self) -> Classifier:
        path = self.assets / "reference.safetensors"
        return _classifier(path, _version(path), self.config, "reference", self.device)

    @cached_property
    def learners(self) -> list[Classifier]:
        paths = [self.run.learner(self.increment, member) for member in range(self.config.stages.learners)]
        return [_classifier(path, _version(path), self.config, "learner", self.device) for path in paths]

    @cached_property
    def surrogate(self) -> Surrogate:
        """With the class gradients of this unit's classes."""
        folder = self.assets / "surrogate"
        version = _version(folder / "checkpoints.json")
        return _surrogate(folder, version, self.config, self.classes, self.device)

    def memory(self) -> dict[int, Tensor]:
        """Latents of this unit's classes in earlier increments, oldest first, (M, C, H, W) each."""
        parts: dict[int, list[Tensor]] = {label: [] for label in self.classes}
        for index in range(1, self.increment):
            for label, latents in read_latents(self.run.increment(index)).items():
                if label in parts:
                    parts[label].append(latents)
        empty = torch.empty(0)
        return {label: torch.cat(items) if items else empty for label, items in parts.items()}


def guiding_decoder(config: Config, generator: Generator) -> Autoencoder:
    """The configured small decoder, or the generator's own. Errors: UserError for one that does not fit."""
    if not config.guidance.decoder:
        return generator.autoencoder
    decoder = small_decoder(Path(config.guidance.decoder), generator.autoencoder, config.sampling.precision)
    decoder.network.to(generator.device)
    return decoder


def _version(path: Path) -> int:
    """Changes when a file is made anew, so that no process keeps an old one."""
    return path.stat().st_mtime_ns if path.exists() else 0


@lru_cache(maxsize=2)
def _generator(
    folder: Path, version: int, config: GeneratorConfig, dataset: DatasetConfig, device: str, sampling: SamplingConfig
) -> Generator:
    train = cached_splits(dataset).train
    generator = open_generator(config, folder, train.class_names, train.shape, device, sampling.precision)
    if sampling.compile:
        generator.denoiser.compile()
    return generator


@lru_cache(maxsize=8)
def _classifier(path: Path, version: int, config: Config, role: str, device: str) -> Classifier:
    return load_classifier(path, getattr(config, role), cached_splits(config.dataset).train, device)


@lru_cache(maxsize=2)
def _surrogate(folder: Path, version: int, config: Config, classes: range, device: str) -> Surrogate:
    return load_surrogate(folder, config.influence.surrogate, surrogate_images(config), classes, device)
