"""IGD: samples whose gradients pull a classifier's weights the way their class's real images do."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from lgd.config import GuidanceConfig
from lgd.diffusion.types import Denoiser
from lgd.distillation.recipe import Recipe
from lgd.distillation.resources import Resources
from lgd.distillation.store import SelectedImage
from lgd.guidance.influence import influence
from lgd.guidance.learnability import learnability_guided

from .sampling import sample_slots_in_order, without_selection


def influence_guidance(recipe: Recipe) -> GuidanceConfig:
    """Return the strength, window, space and route of influence guidance."""
    own, window = recipe.influence, recipe.influence.window or recipe.guidance.window
    return replace(recipe.guidance, strength=own.strength, deviation=own.deviation, window=window)


def sample_igd(resources: Resources) -> list[SelectedImage]:
    """Influence guidance takes learnability guidance's steps, with another score: sampling climbs the influence."""
    config, guidance = resources.config, influence_guidance(resources.config)

    def guide(denoiser: Denoiser, labels: Tensor, slots: Tensor) -> Denoiser:
        def score(x0: Tensor) -> Tensor:
            return influence(resources.guiding.decode(x0), labels, resources.surrogate)

        return learnability_guided(denoiser, score, guidance)

    return sample_slots_in_order(resources, without_selection(config, guidance), guide)
