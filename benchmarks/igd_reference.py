"""Guided sampling by the loop of IGD's public code, on which LGD builds: slow and plain.

`igd_reference_scores.py` compares with it, and tests use it as an independent implementation. It samples one image at
a time in float32, and at every step of the window it differentiates the score through decoder and denoiser.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lgd.classifiers.architectures import Classifier
from lgd.data.imageset import to_bytes, to_float
from lgd.diffusion.autoencoder_networks import in_precision
from lgd.diffusion.generator import Generator
from lgd.diffusion.prediction_type import x0_and_eps
from lgd.diffusion.types import Step
from lgd.distillation.recipe import Recipe
from lgd.distillation.resources import Resources
from lgd.distillation.selection import CandidateScores, rule_named
from lgd.guidance.learnability import fixed_strength
from lgd.guidance.vectors import IGD_U
from lgd.profiling.networks import altered
from lgd.rng import image_seed


def igd_candidates(
    networks: Resources, config: Recipe, label: int, seeds: Sequence[int]
) -> tuple[list[Tensor], CandidateScores]:
    """Sample all candidates of one slot; returns latents (C, H, W) and measurements (kappa,) of the images in 8 bits.

    seeds: one per candidate. The memory is empty, so there is no deviation guidance.
    """
    latents, losses, valid = [], [], []
    for seed in seeds:
        z = igd_sample(networks, config, label, seed)
        with torch.no_grad():
            stored = to_float(to_bytes(networks.generator.autoencoder.decode(z[None])))
            losses.append([float(loss(stored, label, of)) for of in (networks.learners, [networks.reference])])
            valid.append(int(networks.reference(stored).argmax()) == label)
        latents.append(z)
    learner, reference = torch.tensor(losses).T
    score = learner - config.guidance.omega * reference
    return latents, CandidateScores(score, learner, reference, torch.tensor(valid))


def igd_sample(networks: Resources, config: Recipe, label: int, seed: int) -> Tensor:
    """Sample one guided latent (C, H, W)."""
    generator, guidance, scale = networks.generator, config.guidance, config.sampling.classifier_free_scale
    scheduler, device = generator.schedule(config.sampling), generator.device
    stream = torch.Generator().manual_seed(seed)
    C = generator.latent_shape[0]
    x = torch.randn(generator.latent_shape, generator=stream)[None].to(device)
    condition = generator.conditions_of(torch.tensor([label], device=device), [seed])
    null_condition = generator.null_condition or 0
    (low, high), strength = guidance.window, fixed_strength(guidance)
    for place, t in enumerate(scheduler.timesteps):
        index = len(scheduler.timesteps) - 1 - place
        abar = float(scheduler.alphas_cumprod[t])
        guided = low <= index <= high and strength > 0
        x = x.detach().requires_grad_(guided)
        with torch.set_grad_enabled(guided):
            output = call(generator, x, int(t), abar, condition)
            eps = output[:, :C]
            if scale != 1:
                null = call(generator, x, int(t), abar, torch.full_like(condition, null_condition))[:, :C]
                mixed = null + scale * (eps - null)
                k = config.sampling.guided_channels or C
                eps = torch.cat([mixed[:, :k], eps[:, k:]], dim=1)
            g = torch.zeros_like(x)
            if guided:
                x0 = (x - (1 - abar) ** 0.5 * eps) / abar**0.5
                image = generator.autoencoder.decode(x0, clamp=False)
                S = loss(image, label, networks.learners) - guidance.omega * loss(image, label, [networks.reference])
                (g,) = torch.autograd.grad(S, x)
        x, eps = x.detach(), eps.detach()
        sigma, shift = (1 - abar) ** 0.5, torch.zeros_like(x)
        if guided and guidance.space == "noise":
            eps = eps - strength * sigma * eps.norm() * g / g.norm()
        elif guided:
            shift = strength * IGD_U * sigma * eps.norm() / g.norm() * g
        given = eps if scheduler.config.prediction_type == "epsilon" else (x - sigma * eps) / abar**0.5
        output = torch.cat([given, output.detach()[:, C:]], dim=1)
        extra = {"generator": [stream]} if config.sampling.scheduler != "dpm++" else {}
        with torch.no_grad():
            x = scheduler.step(output, t, x, **extra).prev_sample + shift
    return x[0]


def call(generator: Generator, x: Tensor, t: int, abar: float, condition: Tensor) -> Tensor:
    """Return the predicted noise and, where the denoiser has it, the variance, (1, C or 2C, H, W)."""
    output = generator.output(x, Step(0, t, abar), condition)
    C = x.shape[1]
    return torch.cat([x0_and_eps(output[:, :C], x, abar, generator.predicts)[1], output[:, C:]], dim=1)


def loss(image: Tensor, label: int, classifiers: Sequence[Classifier]) -> Tensor:
    """Return the mean cross-entropy of one image (1, C, H, W), a scalar."""
    y = torch.tensor([label], device=image.device)
    return torch.stack([F.cross_entropy(classifier(image), y) for classifier in classifiers]).mean()


def exact_copy(networks: Resources) -> Resources:
    """Copy the networks in float32, the precision of IGD's loop."""
    generator = networks.generator
    dit = in_precision(deepcopy(generator.denoiser), "float32")
    autoencoder: Any = generator.autoencoder
    if hasattr(autoencoder, "network"):
        autoencoder = replace(autoencoder, network=in_precision(deepcopy(autoencoder.network), "float32"))
    return altered(networks, generator=replace(generator, denoiser=dit, autoencoder=autoencoder))


def igd_score(networks: Resources, config: Recipe, label: int, slot: int = 0) -> float:
    """Return the learnability score of the image that IGD's loop keeps in one slot."""
    config = replace(config, guidance=replace(config.guidance, route="denoiser", every=1))
    seeds = [
        image_seed(config.seed, networks.increment, networks.generator.class_names[label], slot, candidate)
        for candidate in range(config.stages.candidates)
    ]
    _, scores = igd_candidates(networks, config, label, seeds)
    return float(scores.score[rule_named(config.stages.selection).choose(scores.by_slot(len(seeds)), config.stages)])
