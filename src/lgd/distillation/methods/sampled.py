"""Images sampled from the generator: guided or not, slot after slot, with or without candidates to choose from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from lgd.config import Config, GuidanceConfig
from lgd.data.imageset import to_bytes, to_float
from lgd.diffusion.sampler import sample
from lgd.diffusion.types import Denoiser
from lgd.distillation.materials import Materials
from lgd.distillation.selection import select
from lgd.distillation.store import Candidate, Drawn
from lgd.guidance.classifier_free import classifier_free
from lgd.guidance.deviation import deviation_guided
from lgd.guidance.learnability import learnability_guided
from lgd.guidance.score import learnability, mean_loss
from lgd.rng import image_seed, noise

Guide = Callable[[Denoiser, Tensor, int], Denoiser]
"""Wraps the denoiser of a batch with labels (B,) of one slot in the method's own guidance."""


def draw_lgd(materials: Materials) -> list[Drawn]:
    """Learnability-guided: kappa candidates a slot, the best stays; slot after slot, for the memory grows."""
    return draw_sampled(materials, materials.config, by_learnability(materials), scored=True)


def by_learnability(materials: Materials) -> Guide:
    """Guidance up the score of this increment's learners and the reference."""
    config = materials.config

    def guide(denoiser: Denoiser, labels: Tensor, slot: int) -> Denoiser:
        y = labels.to(materials.device)

        def score(x0: Tensor) -> Tensor:
            images = materials.generator.autoencoder.decode(x0)
            return learnability(images, y, materials.learners, materials.reference, config.guidance.omega)

        return learnability_guided(denoiser, score, config.guidance)

    return guide


def draw_unguided(materials: Materials) -> list[Drawn]:
    """The generator's own samples, one candidate a slot (classifier-free guidance only)."""
    return draw_sampled(materials, without_selection(materials.config), lambda denoiser, labels, slot: denoiser)


def without_selection(config: Config, guidance: GuidanceConfig | None = None) -> Config:
    """One candidate a slot, and another guidance than LGD's, or none."""
    guidance = guidance or replace(config.guidance, strength=0.0, deviation=0.0)
    return replace(config, guidance=guidance, stages=replace(config.stages, candidates=1))


def draw_sampled(materials: Materials, config: Config, guide: Guide, scored: bool = False) -> list[Drawn]:
    """Draw one group of classes of one increment by guided sampling and selection (method.md, sections 1 and 3).

    config: the run's, as this method changes it. scored: candidates are compared by their learnability.
    """
    memory = materials.memory() if config.guidance.deviation else {label: torch.empty(0) for label in materials.classes}
    drawn = []
    for slot in range(config.stages.images_per_increment):
        for item in draw_slot(materials, config, guide, slot, memory, scored):
            drawn.append(item)
            if config.guidance.deviation and item.latent is not None:
                memory[item.label] = torch.cat([memory[item.label], item.latent[None]])[-config.guidance.memory :]
    return drawn


def draw_slot(
    materials: Materials, config: Config, guide: Guide, slot: int, memory: dict[int, Tensor], scored: bool
) -> list[Drawn]:
    """One image of each class of the group: all candidates of all classes in batches, then the selection."""
    kappa, S = config.stages.candidates, len(materials.classes)
    cases = [(label, candidate) for label in materials.classes for candidate in range(kappa)]
    seeds = [image_seed(config.seed, materials.increment, label, slot, k) for label, k in cases]
    labels = torch.tensor([label for label, _ in cases])
    latents = torch.cat(
        [
            draw_batch(materials, config, guide, slot, labels[part], [seeds[i] for i in part], memory)
            for part in torch.arange(len(cases)).split(config.sampling.batch_size)
        ]
    )
    with torch.no_grad():
        parts = latents.split(config.sampling.batch_size)
        images = torch.cat(
            [to_bytes(materials.generator.autoencoder.decode(z.to(materials.device))).cpu() for z in parts]
        )
    judged = judge(materials, images, labels, seeds, config.guidance.omega, scored)
    if scored:
        scores = torch.tensor([c.score for c in judged]).view(S, kappa)
        valid = torch.tensor([bool(c.valid) for c in judged]).view(S, kappa)
        chosen = select(scores, valid, config.stages.selection).tolist()
    else:
        chosen = [0] * S
    return [
        Drawn(
            label=label,
            slot=slot,
            image=images[s * kappa + k],
            latent=latents[s * kappa + k],
            candidates=tuple(judged[s * kappa : (s + 1) * kappa]),
            chosen=k,
        )
        for s, (label, k) in enumerate(zip(materials.classes, chosen, strict=True))
    ]


def draw_batch(
    materials: Materials,
    config: Config,
    guide: Guide,
    slot: int,
    labels: Tensor,
    seeds: list[int],
    memory: dict[int, Tensor],
) -> Tensor:
    """Latents (B, C, H, W), on the CPU, of the given labels and seeds."""
    generator, device = materials.generator, materials.device
    sampling = config.sampling
    denoiser = classifier_free(generator, labels.to(device), sampling.classifier_free_scale, sampling.guided_channels)
    denoiser = guide(denoiser, labels, slot)
    denoiser = deviation_guided(denoiser, [memory[int(label)].to(device) for label in labels], config.guidance)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    start = noise(generators, generator.latent_shape).to(device)
    return sample(denoiser, generator.schedule(sampling), start, generators).cpu()


@torch.no_grad()
def judge(
    materials: Materials, images: Tensor, labels: Tensor, seeds: list[int], omega: float, scored: bool
) -> list[Candidate]:
    """Losses, score and validity of uint8 images (B, C, H, W): measured on what will be stored."""
    x, y = to_float(images).to(materials.device), labels.to(materials.device)
    logits = materials.reference(x)
    valid = logits.argmax(1) == y
    reference = F.cross_entropy(logits, y, reduction="none")
    if not scored:
        return [
            Candidate(seed, reference_loss=float(loss), valid=bool(ok))
            for seed, loss, ok in zip(seeds, reference, valid, strict=True)
        ]
    learner = mean_loss(x, y, materials.learners)
    score = learner - omega * reference
    columns = (score.tolist(), learner.tolist(), reference.tolist(), valid.tolist())
    return [Candidate(seed, *values) for seed, *values in zip(seeds, *columns, strict=True)]
