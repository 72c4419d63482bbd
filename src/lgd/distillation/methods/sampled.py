"""LGD and unguided diffusion: images sampled from the generator, with or without learnability guidance."""

from collections.abc import Sequence

from torch import Tensor

from lgd.distillation.resources import Resources
from lgd.distillation.store import SelectedImage
from lgd.guidance.learnability import learnability

from .candidates import CandidateSource, Guide
from .sampling import SAMPLED, climbing, sample_slots_in_order, unguided, without_selection


def sample_lgd(resources: Resources, sources: Sequence[CandidateSource] = (SAMPLED,)) -> list[SelectedImage]:
    """Keep one of the candidates of every slot; those that are sampled are sampled with learnability guidance."""
    config = resources.config
    if not any(source.generated for source in sources):
        config = unguided(config)
    return sample_slots_in_order(resources, config, by_learnability(resources), scored=True, sources=sources)


def by_learnability(resources: Resources) -> Guide:
    """Return guidance that climbs the learnability score of this increment's learners and the reference."""
    guidance = resources.config.guidance

    def score(images: Tensor, labels: Tensor) -> Tensor:
        return learnability(images, labels, resources.learners, resources.reference, guidance.omega)

    return climbing(resources, score, guidance)


def sample_unguided(resources: Resources) -> list[SelectedImage]:
    """Sample with classifier-free guidance alone, one candidate a slot where nothing chooses without a learner."""
    recipe = without_selection(resources.config)
    return sample_slots_in_order(resources, recipe, lambda denoiser, labels, slots: denoiser)
