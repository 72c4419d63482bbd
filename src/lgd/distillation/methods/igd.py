"""IGD: sample images whose loss gradients agree with those of their class's real images."""

from dataclasses import replace

import torch
from torch import Tensor

from lgd.config import GuidanceConfig
from lgd.diffusion.autoencoder import decode_at
from lgd.diffusion.types import Denoiser
from lgd.distillation.recipe import Recipe
from lgd.distillation.resources import Resources
from lgd.distillation.store import SelectedImage
from lgd.guidance.classifier_free import NullHalf
from lgd.guidance.influence import influence, joint_influence
from lgd.guidance.learnability import learnability_guided
from lgd.rng import generator as rng
from lgd.rng import image_seed

from .candidates import Guide
from .sampling import climbing, sample_slots_in_order, without_selection


def influence_guidance(recipe: Recipe) -> GuidanceConfig:
    """Return the strength, window, space and route of influence guidance."""
    own, window = recipe.influence, recipe.influence.window or recipe.guidance.window
    return replace(recipe.guidance, strength=own.strength, deviation=own.deviation, window=window)


def sample_igd(resources: Resources) -> list[SelectedImage]:
    """Sample one candidate a slot with influence guidance: learnability guidance's steps, up the influence."""
    guidance = influence_guidance(resources.config)

    def score(images: Tensor, labels: Tensor) -> Tensor:
        return influence(images, labels, resources.surrogate)

    if resources.config.influence.halves == "both":
        guide = with_null_half(resources, guidance)
    else:
        guide = climbing(resources, score, guidance, resources.assets.surrogate.image_size)
    return sample_slots_in_order(resources, without_selection(resources.config, guidance), guide)


def with_null_half(resources: Resources, guidance: GuidanceConfig) -> Guide:
    """Return guidance that climbs the influence of the mean loss of both halves of the batch (see `NullHalf`)."""
    config, size = resources.config, resources.assets.surrogate.image_size

    def guide(denoiser: Denoiser, labels: Tensor, slots: Tensor) -> Denoiser:
        names = [resources.generator.class_names[label] for label in labels.tolist()]
        places = list(zip(names, slots.tolist(), strict=True))
        streams = [rng(config.seed, "null half", resources.increment, name, slot) for name, slot in places]
        seeds = [image_seed(config.seed, resources.increment, name, slot, 0) for name, slot in places]
        conditions = resources.generator.conditions_of(labels, seeds)
        null = NullHalf(resources.generator, conditions, config.sampling, streams)

        def score(x0: Tensor) -> Tensor:
            images = decode_at(resources.guiding, torch.cat([x0, null.x0]), size)
            return joint_influence(torch.stack(images.chunk(2), dim=1), labels, resources.surrogate)

        return learnability_guided(null.predict, score, guidance)

    return guide
