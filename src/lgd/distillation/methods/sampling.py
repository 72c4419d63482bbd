"""Sample, decode and score the candidates of every slot, in batches, and keep one of each slot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from lgd.config import GuidanceConfig
from lgd.data.imageset import to_bytes, to_float
from lgd.diffusion.autoencoder import decode_at
from lgd.diffusion.sampler import sample
from lgd.diffusion.types import Denoiser
from lgd.distillation.batches import in_batches
from lgd.distillation.coverage import Coverage
from lgd.distillation.recipe import Recipe
from lgd.distillation.resources import Resources
from lgd.distillation.selection import CandidateScores, ranked, rule_named
from lgd.distillation.store import Candidate, SelectedImage
from lgd.guidance.classifier_free import classifier_free
from lgd.guidance.deviation import deviation_guided
from lgd.guidance.learnability import learnability_guided
from lgd.guidance.score import mean_loss
from lgd.rng import image_seed, noise

Guide = Callable[[Denoiser, Tensor, Tensor], Denoiser]
"""Wraps the denoiser of a batch in the method's own guidance; labels (B,) and slots (B,) lie on the device."""


@dataclass(frozen=True)
class CandidateSpec:
    """One candidate image, before it is sampled."""

    label: int
    slot: int
    seed: int
    """of its noise"""


@dataclass(frozen=True)
class Choice:
    """The candidate that a slot keeps, and those that it lists, as positions among all."""

    label: int
    slot: int
    candidates: Sequence[int]
    kept: int


@dataclass(frozen=True)
class SamplingContext:
    """Everything that the images of one unit share."""

    resources: Resources
    config: Recipe
    """the run's, as the method changes it"""
    guide: Guide
    memory: dict[int, Tensor]
    """by label, latents (M, C, H, W) of images already in the set, oldest first; on the device"""
    coverage: Coverage | None = None
    """what decides among the candidates of a class; None: they compete slot by slot"""

    def denoiser(self, specs: Sequence[CandidateSpec]) -> Denoiser:
        """Return the denoiser of a batch of candidates under classifier-free, the method's and deviation guidance."""
        generator, sampling, guidance = self.resources.generator, self.config.sampling, self.config.guidance
        labels, slots = torch.tensor([(spec.label, spec.slot) for spec in specs], device=self.resources.device).T
        conditions = generator.conditions_of(labels, [spec.seed for spec in specs])
        plain = classifier_free(generator, conditions, sampling.classifier_free_scale, sampling.guided_channels)
        newest = [self.memory[spec.label][-guidance.memory :] for spec in specs]
        return deviation_guided(self.guide(plain, labels, slots), newest, guidance)


def climbing(
    resources: Resources, score: Callable[[Tensor, Tensor], Tensor], guidance: GuidanceConfig, size: int = 0
) -> Guide:
    """Return guidance that climbs score(images (B, C, H, W), labels (B,)) -> (B,) of the predicted images.

    Their pixels lie about in [0, 1] and are not clamped. size: their side in pixels; 0: that of the image set.
    """

    def guide(denoiser: Denoiser, labels: Tensor, slots: Tensor) -> Denoiser:
        return learnability_guided(denoiser, lambda x0: score(decode_at(resources.guiding, x0, size), labels), guidance)

    return guide


def without_selection(config: Recipe, guidance: GuidanceConfig | None = None) -> Recipe:
    """Return the settings with one candidate a slot, except for coverage, and with this guidance or none."""
    guidance = guidance or replace(config.guidance, strength=0.0, deviation=0.0)
    candidates = 1 if config.stages.coverage == "none" else config.stages.candidates
    return replace(config, guidance=guidance, stages=replace(config.stages, candidates=candidates))


def sample_slots_in_order(
    resources: Resources, config: Recipe, guide: Guide, scored: bool = False
) -> list[SelectedImage]:
    """Sample the images of one unit: one group of classes of one increment (docs/method.md, "The loop").

    config: the run's, as this method changes it. scored: candidates compete by the selection rule. With deviation
    guidance a slot waits for the one before it; otherwise all slots are sampled together.
    """
    deviates, slots = config.guidance.deviation > 0, list(range(config.stages.images_per_increment))
    stored = resources.memory() if deviates else dict.fromkeys(resources.classes, torch.empty(0))
    memory = {label: latents.to(resources.device) for label, latents in stored.items()}
    rule = config.stages.coverage
    coverage = None if rule == "none" else Coverage(resources, rule)
    context = SamplingContext(resources, config, guide, memory, coverage)
    groups = [[slot] for slot in slots] if deviates else [slots]
    return [image for group in groups for image in sample_slots(context, group, scored)]


def sample_slots(context: SamplingContext, slots: Sequence[int], scored: bool) -> list[SelectedImage]:
    """Sample one image of each slot and class; with deviation guidance, add its latent to the memory."""
    resources, config = context.resources, context.config
    specs = candidate_specs(context, slots)
    labels = torch.tensor([spec.label for spec in specs], device=resources.device)
    latents = in_batches(lambda part: sample_candidates(context, specs[part]), len(specs), resources)
    images = in_batches(lambda part: decode(resources, latents[part]), len(specs), resources)
    scores = score_candidates(resources, images, labels, config.guidance.omega, scored)
    features = context.coverage.features(images) if context.coverage else None
    if features is None:
        choices = best_of_slots(context, specs, scores, scored)
    else:
        choices = best_covering(context, specs, scores if scored else None, features)
    kept = torch.tensor([choice.kept for choice in choices], device=resources.device)
    if config.guidance.deviation > 0:
        for label, latent in zip(labels[kept].tolist(), latents[kept], strict=True):
            context.memory[label] = torch.cat([context.memory[label], latent[None]])
    rows = candidate_rows(specs, scores, scored)
    return [
        SelectedImage(c.label, c.slot, image, latent, tuple(rows[i] for i in c.candidates), c.candidates.index(c.kept))
        for c, image, latent in zip(choices, images[kept].cpu(), latents[kept].cpu(), strict=True)
    ]


def best_of_slots(
    context: SamplingContext, specs: Sequence[CandidateSpec], scores: CandidateScores, scored: bool
) -> list[Choice]:
    """Choose one candidate of each slot and class by the selection rule; the first where they are not scored."""
    stages = context.config.stages
    slots = scores.by_slot(stages.candidates)
    chosen = rule_named(stages.selection).choose(slots).tolist() if scored else [0] * len(slots.score)
    places = [range(i, i + stages.candidates) for i in range(0, len(specs), stages.candidates)]
    return [Choice(specs[p[0]].label, specs[p[0]].slot, p, p[k]) for p, k in zip(places, chosen, strict=True)]


def best_covering(
    context: SamplingContext, specs: Sequence[CandidateSpec], scores: CandidateScores | None, features: Tensor
) -> list[Choice]:
    """Choose as many of each class's candidates as it has slots, by coverage.

    scores: with them, only the half that the selection rule ranks higher competes. Every candidate is recorded once:
    each slot lists its image and an equal share of the others.
    """
    assert context.coverage is not None
    stages, choices = context.config.stages, []
    for label in context.resources.classes:
        own = [i for i, spec in enumerate(specs) if spec.label == label]
        slots = sorted({specs[i].slot for i in own})
        competing = list(own)
        if scores is not None:
            half = max(len(slots), -(-len(own) // 2))
            competing = [own[i] for i in ranked(scores.of(own), half, rule_named(stages.selection))]
        kept = [competing[i] for i in context.coverage.keep(label, features[competing], len(slots))]
        others = [i for i in own if i not in kept]
        share = stages.candidates - 1
        choices += [
            Choice(label, slot, [best, *others[n * share : (n + 1) * share]], best)
            for n, (slot, best) in enumerate(zip(slots, kept, strict=True))
        ]
    return choices


def candidate_specs(context: SamplingContext, slots: Sequence[int]) -> list[CandidateSpec]:
    """List the candidates of every slot and class; those of one slot and class stand together."""
    resources, seed = context.resources, context.config.seed
    return [
        CandidateSpec(label, slot, image_seed(seed, resources.increment, label, slot, k))
        for slot in slots
        for label in resources.classes
        for k in range(context.config.stages.candidates)
    ]


def sample_candidates(context: SamplingContext, specs: Sequence[CandidateSpec]) -> Tensor:
    """Sample latents (B, C, H, W), on the device, from the noise of each candidate's own seed."""
    generator = context.resources.generator
    streams = [torch.Generator().manual_seed(spec.seed) for spec in specs]
    start = noise(streams, generator.latent_shape).to(context.resources.device)
    return sample(context.denoiser(specs), generator.schedule(context.config.sampling), start, streams)


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


def candidate_rows(specs: Sequence[CandidateSpec], scores: CandidateScores, scored: bool) -> list[Candidate]:
    """Return the candidates as the manifest records them; score and learner loss are null without `scored`."""
    columns = (scores.score, scores.learner_loss, scores.reference_loss, scores.valid)
    rows = [Candidate(spec.seed, *row) for spec, *row in zip(specs, *(c.tolist() for c in columns), strict=True)]
    return rows if scored else [replace(row, score=None, learner_loss=None) for row in rows]
