"""IGD: sample images whose loss gradients agree with those of their class's real images."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from lgd.config import GuidanceConfig
from lgd.distillation.recipe import Recipe
from lgd.distillation.resources import Resources
from lgd.distillation.store import SelectedImage
from lgd.guidance.influence import influence

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

    guide = climbing(resources, score, guidance)
    return sample_slots_in_order(resources, without_selection(resources.config, guidance), guide)
