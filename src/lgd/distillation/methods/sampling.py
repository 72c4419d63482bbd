"""Slot after slot: candidates drawn in batches, guided or not, one kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lgd.config import GuidanceConfig
from lgd.data.imageset import to_bytes, to_float
from lgd.diffusion.sampler import sample
from lgd.diffusion.types import Denoiser
from lgd.distillation.batches import in_batches
from lgd.distillation.recipe import Recipe
from lgd.distillation.resources import Resources
from lgd.distillation.selection import select
from lgd.distillation.store import Candidate, SelectedImage
from lgd.guidance.classifier_free import classifier_free
from lgd.guidance.deviation import deviation_guided
from lgd.guidance.score import mean_loss
from lgd.rng import image_seed, noise

Guide = Callable[[Denoiser, Tensor, Tensor], Denoiser]
"""Wraps the denoiser of a batch with labels (B,) and slots (B,) in the method's own guidance."""


@dataclass(frozen=True)
class CandidateSpec:
    """One candidate image."""

    label: int
    slot: int
    seed: int


@dataclass(frozen=True)
class SamplingContext:
    """What all images of one unit have in common."""

    resources: Resources
    config: Recipe
    """the run's, as the method changes it"""
    guide: Guide
    memory: dict[int, Tensor]
    """latents (M, C, H, W) of each class that are in the set already"""

    def denoiser(self, cases: Sequence[CandidateSpec]) -> Denoiser:
        """Guided in every way, for a batch of these cases."""
        generator, sampling, device = self.resources.generator, self.config.sampling, self.resources.device
        labels = torch.tensor([case.label for case in cases])
        conditions = generator.conditions_of(labels.to(device), [case.seed for case in cases])
        plain = classifier_free(generator, conditions, sampling.classifier_free_scale, sampling.guided_channels)
        guided = self.guide(plain, labels, torch.tensor([case.slot for case in cases]))
        return deviation_guided(guided, [self.memory[case.label].to(device) for case in cases], self.config.guidance)

    def scheduler(self) -> Any:
        return self.resources.generator.schedule(self.config.sampling)


def without_selection(config: Recipe, guidance: GuidanceConfig | None = None) -> Recipe:
    """One candidate a slot, and another guidance than LGD's, or none."""
    guidance = guidance or replace(config.guidance, strength=0.0, deviation=0.0)
    return replace(config, guidance=guidance, stages=replace(config.stages, candidates=1))


def sample_slots_in_order(
    resources: Resources, config: Recipe, guide: Guide, scored: bool = False
) -> list[SelectedImage]:
    """Draw one group of classes of one increment by guided sampling and selection (method.md, sections 1 and 3).

    config: the run's, as this method changes it. scored: candidates are compared by their learnability. Where there is
    a memory, a slot has to wait for the one before; otherwise all slots are drawn together.
    """
    deviates = config.guidance.deviation > 0
    memory = resources.memory() if deviates else {label: torch.empty(0) for label in resources.classes}
    drawing = SamplingContext(resources, config, guide, memory)
    slots = range(config.stages.images_per_increment)
    drawn = []
    for together in [[slot] for slot in slots] if deviates else [list(slots)]:
        for item in sample_slots(drawing, together, scored):
            drawn.append(item)
            if deviates and item.latent is not None:
                memory[item.label] = torch.cat([memory[item.label], item.latent[None]])[-config.guidance.memory :]
    return drawn


def sample_slots(drawing: SamplingContext, slots: Sequence[int], scored: bool) -> list[SelectedImage]:
    """One image of each slot and class: all candidates in batches, then the selection."""
    resources, config = drawing.resources, drawing.config
    places = [(slot, label) for slot in slots for label in resources.classes]
    kappa = config.stages.candidates
    rivals = [
        [
            CandidateSpec(label, slot, image_seed(config.seed, resources.increment, label, slot, candidate))
            for candidate in range(kappa)
        ]
        for slot, label in places
    ]
    cases = [case for group in rivals for case in group]
    latents = torch.stack(in_batches(lambda part: list(from_noise(drawing, part)), cases, resources))
    images = decoded(resources, latents)
    judged = judge(resources, images, cases, config.guidance.omega, scored)
    chosen = choose(judged, kappa, config) if scored else [0] * len(places)
    found = []
    for place, k in enumerate(chosen):
        at, group = place * kappa + k, judged[place * kappa : (place + 1) * kappa]
        found.append(SelectedImage(cases[at].label, cases[at].slot, images[at], latents[at], tuple(group), k))
    return found


def choose(judged: Sequence[Candidate], kappa: int, config: Recipe) -> list[int]:
    """The kept candidate of each slot, of the candidates of all slots one after the other."""
    scores = torch.tensor([candidate.score for candidate in judged]).view(-1, kappa)
    valid = torch.tensor([bool(candidate.valid) for candidate in judged]).view(-1, kappa)
    return select(scores, valid, config.stages.selection).tolist()


def from_noise(drawing: SamplingContext, cases: Sequence[CandidateSpec]) -> Tensor:
    """Latents (B, C, H, W), on the CPU, of the given cases."""
    streams = [torch.Generator().manual_seed(case.seed) for case in cases]
    start = noise(streams, drawing.resources.generator.latent_shape).to(drawing.resources.device)
    return sample(drawing.denoiser(cases), drawing.scheduler(), start, streams).cpu()


@torch.no_grad()
def decoded(resources: Resources, latents: Tensor) -> Tensor:
    """uint8 images (B, C, H, W), on the CPU, by the generator's own decoder."""
    autoencoder = resources.generator.autoencoder

    def decode(part: Sequence[Tensor]) -> list[Tensor]:
        return list(to_bytes(autoencoder.decode(torch.stack(list(part)).to(resources.device))).cpu())

    return torch.stack(in_batches(decode, list(latents), resources))


@torch.no_grad()
def judge(
    resources: Resources, images: Tensor, cases: Sequence[CandidateSpec], omega: float, scored: bool
) -> list[Candidate]:
    """Losses, score and validity of uint8 images (B, C, H, W): measured on what will be stored."""
    x = to_float(images).to(resources.device)
    y = torch.tensor([case.label for case in cases], device=x.device)
    seeds = [case.seed for case in cases]
    logits = resources.reference(x)
    valid = logits.argmax(1) == y
    reference = F.cross_entropy(logits, y, reduction="none")
    if not scored:
        return [
            Candidate(seed, reference_loss=float(loss), valid=bool(ok))
            for seed, loss, ok in zip(seeds, reference, valid, strict=True)
        ]
    learner = mean_loss(x, y, resources.learners)
    score = learner - omega * reference
    columns = (score.tolist(), learner.tolist(), reference.tolist(), valid.tolist())
    return [Candidate(seed, *values) for seed, *values in zip(seeds, *columns, strict=True)]
