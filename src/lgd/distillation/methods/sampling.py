"""Fill the slots of a unit with candidates; sample, decode and score candidates in batches."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module

import torch
from torch import Tensor
from torch.nn import functional as F

from lgd.config import GuidanceConfig
from lgd.data.imageset import to_bytes, to_float
from lgd.diffusion.autoencoder import decode_at
from lgd.diffusion.sampler import sample
from lgd.diffusion.types import Denoiser
from lgd.distillation.coverage import Coverage
from lgd.distillation.recipe import Recipe, first_step
from lgd.distillation.resources import Resources, in_batches
from lgd.distillation.selection import CandidateScores, chooses_alone, ranked, rule_named
from lgd.distillation.store import SelectedImage
from lgd.guidance.classifier_free import classifier_free
from lgd.guidance.deviation import deviation_guided
from lgd.guidance.learnability import learnability_guided, mean_loss
from lgd.rng import image_seed, noise

from .anchors import ANCHORS
from .candidates import CandidateSource, CandidateSpec, Guide, Place, Proposals, Propose, SamplingContext, by_place


def import_libraries() -> None:
    """Import what sampling needs and takes seconds to import."""
    import_module("diffusers.models.transformers")


def climbing(
    resources: Resources, score: Callable[[Tensor, Tensor], Tensor], guidance: GuidanceConfig, size: int = 0
) -> Guide:
    """Return guidance that climbs score(images (B, C, H, W), labels (B,)) -> (B,) of the predicted images.

    Their pixels lie about in [0, 1] and are not clamped. size: their side in pixels; 0: that of the image set.
    """

    def guide(denoiser: Denoiser, labels: Tensor, slots: Tensor) -> Denoiser:
        return learnability_guided(denoiser, lambda x0: score(decode_at(resources.guiding, x0, size), labels), guidance)

    return guide


def unguided(config: Recipe) -> Recipe:
    """Return the settings without learnability and deviation guidance."""
    return replace(config, guidance=replace(config.guidance, strength=0.0, deviation=0.0))


def without_selection(config: Recipe, guidance: GuidanceConfig | None = None) -> Recipe:
    """Return the settings with this guidance or none, and one candidate a slot unless something chooses among more."""
    candidates = config.stages.candidates if chooses_alone(config.stages) else 1
    config = replace(config, guidance=guidance) if guidance else unguided(config)
    return replace(config, stages=replace(config.stages, candidates=candidates))


def sample_slots_in_order(
    resources: Resources,
    config: Recipe,
    guide: Guide,
    scored: bool = False,
    sources: Sequence[CandidateSource] | None = None,
) -> list[SelectedImage]:
    """Make the images of one unit: one group of classes of one increment (docs/method.md, "The loop").

    config: the run's, as this method changes it. scored: candidates compete by the selection rule. sources: of the
    candidates; None: they are sampled. With deviation guidance a slot waits for the one before it; otherwise all slots
    are made together.
    """
    deviates, slots = config.guidance.deviation > 0, list(range(config.stages.images_per_increment))
    stored = resources.memory() if deviates else dict.fromkeys(resources.classes, torch.empty(0))
    memory = {label: latents.to(resources.device) for label, latents in stored.items()}
    rule = config.stages.coverage
    coverage = None if rule == "none" else Coverage(resources, rule)
    context = SamplingContext(resources, config, guide, memory, scored, coverage)
    begun = [source.begin(context) for source in sources or (SAMPLED,)]
    groups = [[slot] for slot in slots] if deviates else [slots]
    return [image for group in groups for image in sample_slots(context, begun, group)]


def sample_slots(context: SamplingContext, begun: Sequence[Propose], slots: Sequence[int]) -> list[SelectedImage]:
    """Keep one candidate of each slot and class; with deviation guidance, add its latent to the memory."""
    resources, config = context.resources, context.config
    places, scores = by_place([propose(slots) for propose in begun], len(slots) * len(resources.classes))
    if context.coverage:
        selected = best_covering(context, context.coverage, places, scores, slots)
    else:
        chosen = rule_named(config.stages.selection).choose(scores, config.stages).tolist()
        keep = config.stages.keep_rejected
        selected = [place.select(k, context.scored, keep) for place, k in zip(places, chosen, strict=True)]
    if config.guidance.deviation > 0:
        selected = [with_latent(image, resources) for image in selected]
        for image in selected:
            assert image.latent is not None
            latent = image.latent.to(resources.device)[None]
            context.memory[image.label] = torch.cat([context.memory[image.label], latent])
    return selected


def best_covering(
    context: SamplingContext, coverage: Coverage, places: Sequence[Place], scores: CandidateScores, slots: Sequence[int]
) -> list[SelectedImage]:
    """Keep as many of each class's candidates as there are slots, by coverage.

    scores: of the places, (places, kappa). Where the selection rule can rank them, only the half that it ranks higher
    competes. Every candidate is recorded once: each slot lists its image and an equal share of the others.
    """
    stages, selected = context.config.stages, []
    rule = rule_named(stages.selection)
    for number, label in enumerate(context.resources.classes):
        own = range(number, len(places), len(context.resources.classes))
        pool = [candidate for place in own for candidate in places[place].candidates]
        competing = list(range(len(pool)))
        if context.scored or not rule.asks_learner:
            half = max(len(slots), -(-len(pool) // 2))
            competing = ranked(scores.of(own).map(torch.flatten), half, rule, stages)
        images = torch.stack([proposals.image(index) for proposals, index in (pool[i] for i in competing)])
        chosen = coverage.keep(label, coverage.features(images.to(context.resources.device)), len(slots))
        kept = [competing[k] for k in chosen]
        others = [i for i in range(len(pool)) if i not in kept]
        share = -(-len(others) // len(slots))
        for n, (slot, best) in enumerate(zip(slots, kept, strict=True)):
            listed = [best, *others[n * share : (n + 1) * share]]
            place = Place([pool[i] for i in listed])
            selected.append(replace(place.select(0, context.scored, stages.keep_rejected), slot=slot))
    return selected


def with_latent(image: SelectedImage, resources: Resources) -> SelectedImage:
    """Add the latent of a real image, from which later images keep away."""
    if image.latent is not None:
        return image
    pixels = to_float(image.image)[None].to(resources.device)
    return replace(image, latent=resources.generator.autoencoder.encode(pixels)[0].cpu())


def begin_sampling(context: SamplingContext) -> Propose:
    """Return the function that samples, decodes and measures the candidates of some slots."""
    context = replace(context, anchors=ANCHORS[context.config.stages.anchor].choose(context))

    def propose(slots: Sequence[int]) -> Proposals:
        resources, specs = context.resources, candidate_specs(context, slots)
        labels = torch.tensor([spec.label for spec in specs], device=resources.device)
        latents = in_batches(lambda part: sample_candidates(context, specs[part]), len(specs), resources)
        images = in_batches(lambda part: decode(resources, latents[part]), len(specs), resources)
        scores = score_candidates(resources, images, labels, context.config.guidance.omega, context.scored)
        return Proposals(
            specs, scores.map(Tensor.cpu), lambda index: images[index].cpu(), lambda index: latents[index].cpu()
        )

    return propose


SAMPLED = CandidateSource(
    begin_sampling,
    per_slot=lambda recipe: recipe.stages.candidates,
    generated=True,
    units=lambda growth, recipe: ANCHORS[recipe.stages.anchor].units(growth, recipe),
)


def denoiser_of(context: SamplingContext, specs: Sequence[CandidateSpec]) -> Denoiser:
    """Return the denoiser of a batch of candidates under classifier-free, the method's and deviation guidance."""
    resources, sampling, guidance = context.resources, context.config.sampling, context.config.guidance
    labels, slots = torch.tensor([(spec.label, spec.slot) for spec in specs], device=resources.device).T
    conditions = resources.generator.conditions_of(labels, [seed_of(spec) for spec in specs])
    plain = classifier_free(resources.generator, conditions, sampling.classifier_free_scale, sampling.guided_channels)
    newest = [context.memory[spec.label][-guidance.memory :] for spec in specs]
    return deviation_guided(context.guide(plain, labels, slots), newest, guidance)


def candidate_specs(context: SamplingContext, slots: Sequence[int]) -> list[CandidateSpec]:
    """List the candidates of every slot and class; those of one slot and class stand together."""
    resources, seed = context.resources, context.config.seed
    names = resources.generator.class_names
    return [
        CandidateSpec(
            label,
            slot,
            image_seed(seed, resources.increment, names[label], slot, k),
            context.anchors.of(label, slot, k),
        )
        for slot in slots
        for label in resources.classes
        for k in range(context.config.stages.candidates)
    ]


def seed_of(spec: CandidateSpec) -> int:
    """Return the seed of a candidate that is sampled."""
    assert spec.seed is not None
    return spec.seed


def sample_candidates(context: SamplingContext, specs: Sequence[CandidateSpec]) -> Tensor:
    """Sample latents (B, C, H, W), on the device, from the noise of each candidate's own seed and from its anchor."""
    resources, config = context.resources, context.config
    streams = [torch.Generator().manual_seed(seed_of(spec)) for spec in specs]
    eps = noise(streams, resources.generator.latent_shape).to(resources.device)
    start = context.anchors.start(specs, first_step(config), resources.device)
    schedule = resources.generator.schedule(config.sampling)
    return sample(denoiser_of(context, specs), schedule, eps, streams, start=start)


@torch.no_grad()
def decode(resources: Resources, latents: Tensor) -> Tensor:
    """Decode latents to the uint8 images (B, C, H, W) that are stored, on the device."""
    return to_bytes(resources.generator.autoencoder.decode(latents))


@torch.no_grad()
def score_candidates(
    resources: Resources, images: Tensor, labels: Tensor, omega: float, scored: bool
) -> CandidateScores:
    """Measure losses, score and validity of uint8 images (N, C, H, W) with labels (N,), in batches.

    Without `scored` no learner is asked, and score and learner loss are NaN.
    """

    def measure(part: slice) -> tuple[Tensor, ...]:
        x, y = to_float(images[part]), labels[part]
        logits = resources.reference(x)
        reference_loss = F.cross_entropy(logits, y, reduction="none")
        learner_loss = mean_loss(x, y, resources.learners) if scored else torch.full_like(reference_loss, torch.nan)
        return learner_loss, reference_loss, logits.argmax(1) == y

    learner_loss, reference_loss, valid = in_batches(measure, len(images), resources)
    return CandidateScores(learner_loss - omega * reference_loss, learner_loss, reference_loss, valid)
