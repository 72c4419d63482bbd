"""Train a class-conditional DiT on an image set. A generator that the caller loops over, for progress and logs."""

from __future__ import annotations

from collections.abc import Iterator
from math import cos, isfinite, pi

import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import EMAModel
from torch.nn import functional as F

from lgd.config import GeneratorConfig
from lgd.data.imageset import ImageSet, to_float
from lgd.errors import NonFiniteError
from lgd.rng import generator as rng

from .autoencoder import Pixels
from .generator import Generator, new_denoiser


def train_generator(
    train: ImageSet, config: GeneratorConfig, device: str | torch.device = "cpu"
) -> Iterator[tuple[int, float, Generator | None]]:
    """Yield (step, loss, None) per optimiser step and lastly the generator with the averaged weights.

    Epsilon prediction on uniform t (Ho et al., 2020); labels are dropped to the null class once per image; AdamW with a
    linear warm-up and a half-cosine to zero; gradients clipped at norm 1. Errors: NonFiniteError naming the step.
    """
    autoencoder = Pixels()
    latents = autoencoder.encode(to_float(train.images)).to(device)  # (N, C, H, W)
    labels = train.labels.to(device)
    classes = len(train.class_names)
    denoiser = new_denoiser(config, train.shape, classes).to(device).train()
    scheduler = DDPMScheduler(
        num_train_timesteps=config.train_timesteps,
        beta_start=config.beta_start,
        beta_end=config.beta_end,
        clip_sample=True,
    )
    optimiser = torch.optim.AdamW(denoiser.parameters(), lr=config.learning_rate, weight_decay=0.0, fused=True)
    rate = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: warmup_cosine(step, config))
    average = EMAModel(denoiser.parameters(), decay=config.ema_decay, use_ema_warmup=True, power=3 / 4, foreach=True)
    draw = rng(config.seed, "generator training")
    batch = min(config.batch_size, len(train))
    order = torch.randperm(len(train), generator=draw)
    for step in range(config.steps):
        if len(order) < batch:
            order = torch.cat([order, torch.randperm(len(train), generator=draw)])
        chosen, order = order[:batch].to(device), order[batch:]
        t = torch.randint(config.train_timesteps, (batch,), generator=draw).to(device)
        eps = torch.randn((batch, *latents.shape[1:]), generator=draw).to(device)
        dropped = (torch.rand(batch, generator=draw) < config.label_dropout).to(device)
        y = labels[chosen].masked_fill(dropped, classes)
        x_t = scheduler.add_noise(latents[chosen], eps, t)
        loss = F.mse_loss(denoiser(x_t, timestep=t, class_labels=y).sample, eps)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(denoiser.parameters(), 1.0)
        value = loss.item()
        if not isfinite(value + norm.item()):
            raise NonFiniteError(f"generator training: loss {value}, gradient norm {norm.item()} at step {step}")
        optimiser.step()
        rate.step()
        average.step(denoiser.parameters())
        yield step, value, None
    average.copy_to(denoiser.parameters())
    denoiser = denoiser.eval().requires_grad_(False)
    ids = tuple(range(classes))
    yield (
        config.steps,
        value,
        Generator(denoiser, dict(scheduler.config), autoencoder, train.class_names, ids),
    )


def warmup_cosine(step: int, config: GeneratorConfig) -> float:
    """Factor on the learning rate: linear up over warmup_steps, then half a cosine down to zero at the last step."""
    if step < config.warmup_steps:
        return (step + 1) / (config.warmup_steps + 1)
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return 0.5 * (1 + cos(pi * progress))
