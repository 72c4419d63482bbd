"""Guided sampling by the loop of IGD's public code, on which LGD builds: slow and plain.

`lgd bench` compares with it, and tests use it as an independent implementation. It samples one image at a time in
float32, and at every step of the window it differentiates the score through the decoder and the whole denoiser.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lgd.data.imageset import to_bytes, to_float
from lgd.diffusion.generator import Generator
from lgd.diffusion.prediction_type import x0_and_eps
from lgd.diffusion.types import Step
from lgd.distillation.recipe import Recipe
from lgd.distillation.resources import Resources
from lgd.guidance.vectors import LINEAGE_U

from .networks import Networks


def igd_candidates(
    networks: Networks | Resources, config: Recipe, label: int, seeds: Sequence[int]
) -> tuple[list[Tensor], list[float]]:
    """Sample all candidates of one slot; returns latents (C, H, W) and the scores of the images in 8 bits.

    seeds: one per candidate. The memory is empty, so there is no deviation guidance.
    """
    latents, scores = [], []
    for seed in seeds:
        z = igd_sample(networks, config, label, seed)
        with torch.no_grad():
            stored = to_float(to_bytes(networks.generator.autoencoder.decode(z[None])))
            scores.append(float(score(networks, stored, label, config.guidance.omega)))
        latents.append(z)
    return latents, scores


def igd_sample(networks: Networks | Resources, config: Recipe, label: int, seed: int) -> Tensor:
    """Sample one guided latent (C, H, W)."""
    generator, guidance, scale = networks.generator, config.guidance, config.sampling.classifier_free_scale
    scheduler, device = generator.schedule(config.sampling), generator.device
    stream = torch.Generator().manual_seed(seed)
    C = generator.latent_shape[0]
    x = torch.randn(generator.latent_shape, generator=stream)[None].to(device)
    condition = generator.conditions_of(torch.tensor([label], device=device), [seed])
    null_condition = generator.null_condition or 0
    low, high = guidance.window
    for place, t in enumerate(scheduler.timesteps):
        index = len(scheduler.timesteps) - 1 - place
        abar = float(scheduler.alphas_cumprod[t])
        guided = low <= index <= high and guidance.strength > 0
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
                S = score(networks, generator.autoencoder.decode(x0), label, guidance.omega)
                (g,) = torch.autograd.grad(S.sum(), x)
        x, eps = x.detach(), eps.detach()
        sigma, shift = (1 - abar) ** 0.5, torch.zeros_like(x)
        if guided and guidance.space == "noise":
            eps = eps - guidance.strength * sigma * eps.norm() * g / g.norm()
        elif guided:
            shift = guidance.strength * LINEAGE_U * sigma * eps.norm() / g.norm() * g
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


def score(networks: Networks | Resources, images: Tensor, label: int, omega: float) -> Tensor:
    """Return the learnability score S of one image (1, C, H, W), (1,)."""
    y = torch.tensor([label], device=images.device)
    losses = [F.cross_entropy(learner(images), y) for learner in networks.learners]
    return (sum(losses) / len(losses) - omega * F.cross_entropy(networks.reference(images), y))[None]
