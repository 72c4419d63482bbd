"""IGD: samples whose gradients pull a classifier's weights the way their class's real images do."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from lgd.diffusion.autoencoder import decode_at
from lgd.diffusion.types import Denoiser
from lgd.distillation.resources import Resources
from lgd.distillation.store import SelectedImage
from lgd.guidance.influence import influence, joint_influence
from lgd.guidance.learnability import learnability_guided
from lgd.guidance.null_half import NullHalf
from lgd.rng import generator as rng

from .sampling import sample_slots_in_order, without_selection


def sample_igd(resources: Resources) -> list[SelectedImage]:
    """Influence guidance takes learnability guidance's steps, with another score: sampling climbs the influence."""
    config, own = resources.config, resources.config.influence
    guidance = replace(
        config.guidance,
        strength=own.strength,
        deviation=own.deviation,
        window=own.window or config.guidance.window,
    )

    def guide(denoiser: Denoiser, labels: Tensor, slots: Tensor) -> Denoiser:
        y, size = labels.to(resources.device), own.surrogate.image_size

        def score(x0: Tensor) -> Tensor:
            return influence(decode_at(resources.guiding, x0, size), y, resources.surrogate)

        if own.halves == "class":
            return learnability_guided(denoiser, score, guidance)
        names = zip(labels.tolist(), slots.tolist(), strict=True)
        streams = [rng(config.seed, "null half", resources.increment, label, slot) for label, slot in names]
        null = NullHalf(resources.generator, y, config.sampling, streams)

        def joint_score(x0: Tensor) -> Tensor:
            images = decode_at(resources.guiding, torch.cat([x0, null.x0]), size)
            return joint_influence(torch.stack(images.chunk(2), dim=1), y, resources.surrogate)

        return learnability_guided(null.predict, joint_score, guidance)

    return sample_slots_in_order(resources, without_selection(config, guidance), guide)
