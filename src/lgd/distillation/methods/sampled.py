"""LGD and unguided diffusion: images sampled from the generator, with or without learnability guidance."""

from __future__ import annotations

from torch import Tensor

from lgd.distillation.resources import Resources
from lgd.distillation.store import SelectedImage
from lgd.guidance.score import learnability

from .sampling import Guide, climbing, sample_slots_in_order, without_selection


def sample_lgd(resources: Resources) -> list[SelectedImage]:
    """Sample kappa candidates a slot with learnability guidance and keep one."""
    return sample_slots_in_order(resources, resources.config, by_learnability(resources), scored=True)


def by_learnability(resources: Resources) -> Guide:
    """Return guidance that climbs the learnability score of this increment's learners and the reference."""
    guidance = resources.config.guidance

    def score(images: Tensor, labels: Tensor) -> Tensor:
        return learnability(images, labels, resources.learners, resources.reference, guidance.omega)

    return climbing(resources, score, guidance)


def sample_unguided(resources: Resources) -> list[SelectedImage]:
    """Sample one candidate a slot with classifier-free guidance alone."""
    recipe = without_selection(resources.config)
    return sample_slots_in_order(resources, recipe, lambda denoiser, labels, slots: denoiser)
