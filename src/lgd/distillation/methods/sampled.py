"""Images sampled from the generator: by its own lights, or up the learnability score."""

from __future__ import annotations

from torch import Tensor

from lgd.diffusion.types import Denoiser
from lgd.distillation.materials import Materials
from lgd.distillation.store import Drawn
from lgd.guidance.learnability import learnability_guided
from lgd.guidance.score import learnability

from .drawing import Guide, draw_sampled, without_selection


def draw_lgd(materials: Materials) -> list[Drawn]:
    """Learnability-guided: kappa candidates a slot, the best stays; slot after slot, for the memory grows."""
    return draw_sampled(materials, materials.config, by_learnability(materials), scored=True)


def by_learnability(materials: Materials) -> Guide:
    """Guidance up the score of this increment's learners and the reference."""
    config = materials.config

    def guide(denoiser: Denoiser, labels: Tensor, slots: Tensor) -> Denoiser:
        y = labels.to(materials.device)

        def score(x0: Tensor) -> Tensor:
            images = materials.guiding.decode(x0)
            return learnability(images, y, materials.learners, materials.reference, config.guidance.omega)

        return learnability_guided(denoiser, score, config.guidance)

    return guide


def draw_unguided(materials: Materials) -> list[Drawn]:
    """The generator's own samples, one candidate a slot (classifier-free guidance only)."""
    return draw_sampled(materials, without_selection(materials.config), lambda denoiser, labels, slots: denoiser)
