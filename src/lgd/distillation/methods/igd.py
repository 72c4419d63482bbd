"""IGD: samples whose gradients pull a classifier's weights the way their class's real images do."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from lgd.diffusion.types import Denoiser
from lgd.distillation.resources import Resources
from lgd.distillation.store import SelectedImage
from lgd.guidance.influence import influence
from lgd.guidance.learnability import learnability_guided

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
        y = labels.to(resources.device)

        def score(x0: Tensor) -> Tensor:
            return influence(resources.guiding.decode(x0, clamp=False), y, resources.surrogate)

        return learnability_guided(denoiser, score, guidance)

    return sample_slots_in_order(resources, without_selection(config, guidance), guide)
