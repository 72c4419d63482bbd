"""Guided sampling as the public code that the method descends from does it: the slow, obvious loop.

For comparison in `lgd bench`, and as a test's second opinion. One image at a time in float32; at every step of the
window the score's gradient goes back through the decoder and the whole denoiser; every candidate is drawn to the end.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lgd.classifiers.architectures import Classifier
from lgd.config import Config
from lgd.data.imageset import to_bytes, to_float
from lgd.diffusion.generator import Generator
from lgd.diffusion.prediction_type import x0_and_eps
from lgd.guidance.vectors import LINEAGE_U


def lineage_slot(
    generator: Generator,
    learners: Sequence[Classifier],
    reference: Classifier,
    config: Config,
    label: int,
    seeds: Sequence[int],
) -> tuple[list[Tensor], list[float]]:
    """All candidates of one slot: latents (C, H, W), and the scores of the images as they would be stored.

    The memory is taken to be empty. seeds: one per candidate.
    """
    latents, scores = [], []
    for seed in seeds:
        z = lineage_sample(generator, learners, reference, config, label, seed)
        with torch.no_grad():
            stored = to_float(to_bytes(generator.autoencoder.decode(z[None])))
            scores.append(float(score(stored, label, learners, reference, config.guidance.omega)))
        latents.append(z)
    return latents, scores


def lineage_sample(
    generator: Generator,
    learners: Sequence[Classifier],
    reference: Classifier,
    config: Config,
    label: int,
    seed: int,
) -> Tensor:
    """One guided sample (C, H, W)."""
    guidance, scale = config.guidance, config.sampling.classifier_free_scale
    scheduler, device = generator.schedule(config.sampling), generator.device
    stream = torch.Generator().manual_seed(seed)
    C = generator.latent_shape[0]
    x = torch.randn(generator.latent_shape, generator=stream)[None].to(device)
    class_id = generator.class_ids[label]
    low, high = guidance.window
    for place, t in enumerate(scheduler.timesteps):
        index = len(scheduler.timesteps) - 1 - place
        abar = float(scheduler.alphas_cumprod[t])
        guided = low <= index <= high and guidance.strength > 0
        x = x.detach().requires_grad_(guided)
        with torch.set_grad_enabled(guided):
            output = call(generator, x, int(t), abar, class_id)
            eps = output[:, :C]
            if scale != 1:
                null = call(generator, x, int(t), abar, generator.null_id)[:, :C]
                mixed = null + scale * (eps - null)
                k = config.sampling.guided_channels or C
                eps = torch.cat([mixed[:, :k], eps[:, k:]], dim=1)
            g = torch.zeros_like(x)
            if guided:
                x0 = (x - (1 - abar) ** 0.5 * eps) / abar**0.5
                S = score(generator.autoencoder.decode(x0, clamp=False), label, learners, reference, guidance.omega)
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


def call(generator: Generator, x: Tensor, t: int, abar: float, class_id: int) -> Tensor:
    """The noise, and what else the denoiser says, (1, C or 2C, H, W)."""
    ids = torch.tensor([class_id], device=x.device)
    output = generator.denoiser(x, timestep=torch.tensor([t], device=x.device), class_labels=ids).sample
    C = x.shape[1]
    return torch.cat([x0_and_eps(output[:, :C], x, abar, generator.predicts)[1], output[:, C:]], dim=1)


def score(images: Tensor, label: int, learners: Sequence[Classifier], reference: Classifier, omega: float) -> Tensor:
    """S of one image (1, C, H, W), (1,)."""
    y = torch.tensor([label], device=images.device)
    losses = [F.cross_entropy(learner(images), y) for learner in learners]
    return (sum(losses) / len(losses) - omega * F.cross_entropy(reference(images), y))[None]
