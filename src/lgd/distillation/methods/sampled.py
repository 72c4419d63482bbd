"""Images sampled from the generator: by its own lights, or up the learnability score."""

from __future__ import annotations

from torch import Tensor

from lgd.diffusion.types import Denoiser
from lgd.distillation.resources import Resources
from lgd.distillation.store import SelectedImage
from lgd.guidance.learnability import learnability_guided
from lgd.guidance.score import learnability

from .sampling import Guide, sample_slots_in_order, without_selection


def sample_lgd(resources: Resources) -> list[SelectedImage]:
    """Learnability-guided: kappa candidates a slot, the best stays; slot after slot, for the memory grows."""
    return sample_slots_in_order(resources, resources.config, by_learnability(resources), scored=True)


def by_learnability(resources: Resources) -> Guide:
    """Guidance up the score of this increment's learners and the reference."""
    config = resources.config

    def guide(denoiser: Denoiser, labels: Tensor, slots: Tensor) -> Denoiser:
        y = labels.to(resources.device)

        def score(x0: Tensor) -> Tensor:
            images = resources.guiding.decode(x0, clamp=False)
            return learnability(images, y, resources.learners, resources.reference, config.guidance.omega)

        return learnability_guided(denoiser, score, config.guidance)

    return guide


def sample_unguided(resources: Resources) -> list[SelectedImage]:
    """The generator's own samples, one candidate a slot (classifier-free guidance only)."""
    return sample_slots_in_order(
        resources, without_selection(resources.config), lambda denoiser, labels, slots: denoiser
    )
