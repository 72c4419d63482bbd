"""Slot after slot: candidates drawn in batches, guided or not, compared early or when they are finished, one kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lgd.config import Config, GuidanceConfig
from lgd.data.imageset import to_bytes, to_float
from lgd.diffusion.sampler import memory_of, remind, sample, steps_of
from lgd.diffusion.types import Denoiser, Prediction, Step, predict_x0
from lgd.distillation.batches import in_batches
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
class PartialSample:
    """An image of which some steps are drawn."""

    case: CandidateSpec
    x_t: Tensor
    """(C, H, W)"""
    x0: Tensor
    """the clean latent that the last step predicted before guidance, (C, H, W)"""
    stream: torch.Generator
    """of its noise, where the next step goes on"""
    remembered: list[Tensor]
    """by a multistep scheduler, (C, H, W) each"""


@dataclass(frozen=True)
class SamplingContext:
    """What all images of one unit have in common."""

    resources: Resources
    config: Config
    """the run's, as the method changes it"""
    guide: Guide
    memory: dict[int, Tensor]
    """latents (M, C, H, W) of each class that are in the set already"""

    def denoiser(
        self, cases: Sequence[CandidateSpec], watch: Callable[[Tensor, Step, Prediction], None] | None = None
    ) -> Denoiser:
        """Guided in every way, for a batch of these cases.

        watch: told x_t, the step and what is predicted before the method's guidance: the shifts of guidance would
        carry the predicted clean image far beyond where the sample is going.
        """
        generator, sampling, device = self.resources.generator, self.config.sampling, self.resources.device
        labels = torch.tensor([case.label for case in cases])
        plain = classifier_free(generator, labels.to(device), sampling.classifier_free_scale, sampling.guided_channels)
        if watch is not None:
            plain = watched(plain, watch)
        guided = self.guide(plain, labels, torch.tensor([case.slot for case in cases]))
        return deviation_guided(guided, [self.memory[case.label].to(device) for case in cases], self.config.guidance)

    def scheduler(self) -> Any:
        return self.resources.generator.schedule(self.config.sampling)


def watched(inner: Denoiser, watch: Callable[[Tensor, Step, Prediction], None]) -> Denoiser:
    """The same denoiser, whose predictions are looked at."""

    def denoiser(x_t: Tensor, step: Step) -> Prediction:
        prediction = inner(x_t, step)
        watch(x_t, step, prediction)
        return prediction

    return denoiser


def without_selection(config: Config, guidance: GuidanceConfig | None = None) -> Config:
    """One candidate a slot, and another guidance than LGD's, or none."""
    guidance = guidance or replace(config.guidance, strength=0.0, deviation=0.0)
    return replace(config, guidance=guidance, stages=replace(config.stages, candidates=1))


def sample_slots_in_order(
    resources: Resources, config: Config, guide: Guide, scored: bool = False
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
    if scored and config.stages.halving and kappa > 1:
        return finish_early(drawing, cases)
    latents = torch.stack(in_batches(lambda part: list(from_noise(drawing, part)), cases, resources))
    images = decoded(resources, latents)
    judged = judge(resources, images, cases, config.guidance.omega, scored)
    chosen = choose(judged, kappa, config) if scored else [0] * len(places)
    found = []
    for place, k in enumerate(chosen):
        at, group = place * kappa + k, judged[place * kappa : (place + 1) * kappa]
        found.append(SelectedImage(cases[at].label, cases[at].slot, images[at], latents[at], tuple(group), k))
    return found


def finish_early(drawing: SamplingContext, cases: Sequence[CandidateSpec]) -> list[SelectedImage]:
    """All candidates to the step `stages.halving`, then of every slot the best alone.

    A kept image is, to rounding, the one that its seed gives without halving: its stream goes on where it stopped.
    """
    resources, config = drawing.resources, drawing.config
    kappa, omega = config.stages.candidates, config.guidance.omega
    ways = in_batches(lambda part: to_halving(drawing, part), cases, resources)
    predicted = decoded(resources, torch.stack([way.x0 for way in ways]), guiding=True)
    early = judge(resources, predicted, cases, omega, scored=True)
    chosen = choose(early, kappa, config)
    kept = [ways[place * kappa + k] for place, k in enumerate(chosen)]
    latents = torch.stack(in_batches(lambda part: list(from_halving(drawing, part)), kept, resources))
    images = decoded(resources, latents)
    final = judge(resources, images, [way.case for way in kept], omega, scored=True)
    found = []
    for place, (k, way) in enumerate(zip(chosen, kept, strict=True)):
        group = [dropped(candidate) for candidate in early[place * kappa : (place + 1) * kappa]]
        group[k] = replace(final[place], early_score=group[k].early_score)
        found.append(SelectedImage(way.case.label, way.case.slot, images[place], latents[place], tuple(group), k))
    return found


def dropped(candidate: Candidate) -> Candidate:
    """What the manifest says of an image that was never finished."""
    return Candidate(candidate.seed, valid=candidate.valid, early_score=candidate.score)


def choose(judged: Sequence[Candidate], kappa: int, config: Config) -> list[int]:
    """The kept candidate of each slot, of the candidates of all slots one after the other."""
    scores = torch.tensor([candidate.score for candidate in judged]).view(-1, kappa)
    valid = torch.tensor([bool(candidate.valid) for candidate in judged]).view(-1, kappa)
    return select(scores, valid, config.stages.selection).tolist()


def from_noise(drawing: SamplingContext, cases: Sequence[CandidateSpec]) -> Tensor:
    """Latents (B, C, H, W), on the CPU, of the given cases."""
    streams = [torch.Generator().manual_seed(case.seed) for case in cases]
    start = noise(streams, drawing.resources.generator.latent_shape).to(drawing.resources.device)
    return sample(drawing.denoiser(cases), drawing.scheduler(), start, streams).cpu()


def to_halving(drawing: SamplingContext, cases: Sequence[CandidateSpec]) -> list[PartialSample]:
    """The first steps, down to the index `stages.halving`, which is the last of them."""
    streams = [torch.Generator().manual_seed(case.seed) for case in cases]
    start = noise(streams, drawing.resources.generator.latent_shape).to(drawing.resources.device)
    scheduler, x0 = drawing.scheduler(), start

    def watch(x_t: Tensor, step: Step, prediction: Prediction) -> None:
        nonlocal x0
        x0 = predict_x0(x_t, prediction.eps, step.alpha_bar).detach()

    steps = [step for step in steps_of(scheduler) if step.index >= drawing.config.stages.halving]
    x_t = sample(drawing.denoiser(cases, watch), scheduler, start, streams, steps=steps)
    remembered = memory_of(scheduler)
    return [
        PartialSample(case, x_t[i], x0[i], streams[i], [output[i] for output in remembered])
        for i, case in enumerate(cases)
    ]


def from_halving(drawing: SamplingContext, ways: Sequence[PartialSample]) -> Tensor:
    """The steps that are left, to latents (B, C, H, W) on the CPU. The streams stay as they are, to be used again."""
    scheduler = drawing.scheduler()
    steps = [step for step in steps_of(scheduler) if step.index < drawing.config.stages.halving]
    remind(scheduler, [torch.stack(outputs) for outputs in zip(*(way.remembered for way in ways), strict=True)])
    x_t = torch.stack([way.x_t for way in ways])
    streams = [way.stream.clone_state() for way in ways]
    return sample(drawing.denoiser([way.case for way in ways]), scheduler, x_t, streams, steps=steps).cpu()


@torch.no_grad()
def decoded(resources: Resources, latents: Tensor, guiding: bool = False) -> Tensor:
    """uint8 images (B, C, H, W), on the CPU, by the generator's own decoder or the one of guidance."""
    autoencoder = resources.guiding if guiding else resources.generator.autoencoder

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
