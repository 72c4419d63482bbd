"""Previews of a generator: its samples by class, and the curve of its training loss."""

from collections.abc import Sequence
from pathlib import Path

import torch

from lgd.config import SamplingConfig
from lgd.data.imageset import ImageSet, to_bytes
from lgd.diffusion.generator import Generator
from lgd.diffusion.sampler import sample
from lgd.diffusion.train_generator import Row
from lgd.guidance.classifier_free import classifier_free
from lgd.report import plots
from lgd.rng import derive_seed, noise
from lgd.storage.files import write_bytes


@torch.no_grad()
def preview_samples(
    generator: Generator, labels: Sequence[int], each: int, config: SamplingConfig, seed: int
) -> ImageSet:
    """Sample `each` images of every label with classifier-free guidance alone, seeded by class and number."""
    names = tuple(generator.class_names[label] for label in labels)
    seeds = [derive_seed(seed, "sample", name, number) for name in names for number in range(each)]
    y = torch.tensor([label for label in labels for _ in range(each)])
    images = []
    for part in torch.arange(len(seeds)).split(config.batch_size):
        streams = [torch.Generator().manual_seed(seeds[i]) for i in part]
        start = noise(streams, generator.latent_shape).to(generator.device)
        conditions = generator.conditions_of(y[part].to(generator.device), [seeds[i] for i in part])
        denoiser = classifier_free(generator, conditions, config.classifier_free_scale, config.guided_channels)
        latents = sample(denoiser, generator.schedule(config), start, streams)
        images.append(to_bytes(generator.autoencoder.decode(latents)).cpu())
    return ImageSet(torch.cat(images), torch.arange(len(names)).repeat_interleave(each), names)


def write_grid(images: ImageSet, path: Path) -> None:
    largest = int(images.labels.bincount().max())
    figure = plots.image_grid([images], len(images.class_names), largest)
    figure.axes[0].set_xticks([])
    write_bytes(path, plots.render(figure, "png"))


def write_loss(rows: Sequence[Row], path: Path) -> None:
    write_bytes(
        path, plots.render(plots.loss_curve([row["step"] for row in rows], [row["loss"] for row in rows]), "png")
    )
