"""IGD: samples whose gradients pull a classifier's weights the way their class's real images do."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from lgd.diffusion.types import Denoiser
from lgd.distillation.materials import Materials
from lgd.distillation.store import Drawn
from lgd.guidance.influence import influence
from lgd.guidance.learnability import learnability_guided

from .drawing import draw_sampled, without_selection


def draw_influence(materials: Materials) -> list[Drawn]:
    """Influence guidance takes learnability guidance's steps, with another score: sampling climbs the influence."""
    config, own = materials.config, materials.config.influence
    guidance = replace(
        config.guidance,
        strength=own.strength,
        deviation=own.deviation,
        window=own.window or config.guidance.window,
    )

    def guide(denoiser: Denoiser, labels: Tensor, slots: Tensor) -> Denoiser:
        y = labels.to(materials.device)

        def score(x0: Tensor) -> Tensor:
            return influence(materials.guiding.decode(x0), y, materials.surrogate)

        return learnability_guided(denoiser, score, guidance)

    return draw_sampled(materials, without_selection(config, guidance), guide)
