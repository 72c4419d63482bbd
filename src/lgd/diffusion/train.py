"""Train or tune a denoiser of any family. The state is an object that the caller steps, saves and loads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import cos, isfinite, pi
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lgd.config import GeneratorConfig
from lgd.errors import NonFiniteError
from lgd.execution.hardware import computes_in_bfloat16
from lgd.rng import generator as rng

from . import diffusers_lazily as diffusers
from .alignment import Alignment
from .families import Embeddings, Family
from .families.dit import DIT
from .families.flow import schedule as flow_schedule
from .latents import LatentSource, Source
from .packed import Packed, can_pack
from .prediction_type import FLOW, min_snr_weights, network_input, target, x0_and_eps

if TYPE_CHECKING:
    from diffusers import DDPMScheduler
    from diffusers.training_utils import EMAModel


@dataclass
class Training:
    """Everything that the next step depends on, beside the configuration and the images."""

    denoiser: Any
    optimiser: torch.optim.AdamW
    average: EMAModel
    draw: torch.Generator
    order: Tensor
    """positions of images that this epoch has still to see"""
    losses: list[float]
    """of each step done"""
    packed: Packed | None = None
    """the denoiser's weights as one tensor, which is then all that the optimiser sees"""
    family: Family = DIT
    embeddings: Embeddings | None = None
    """of prompts, where these are the conditions; on the denoiser's device"""
    alignment: Alignment | None = None
    """with a classifier's feature maps; the optimiser's second group of parameters"""

    @property
    def step(self) -> int:
        return len(self.losses)


@dataclass(frozen=True)
class Progress:
    """The record of one step."""

    step: int
    """counted from 1"""
    loss: float
    rate: float
    """learning rate"""
    norm: float
    """of the gradient, before it was clipped"""
    waited: float = 0.0
    """seconds until the images were there"""


@dataclass(frozen=True)
class Batch:
    """The images of a step."""

    item: Any
    """of the source's stream"""
    positions: Tensor
    """(B,) in the image set"""
    labels: Tensor
    """(B,)"""


def begin(
    denoiser: Any,
    config: GeneratorConfig,
    images: int,
    family: Family = DIT,
    embeddings: Embeddings | None = None,
    maps: LatentSource | None = None,
) -> Training:
    """Return the state before the first step, for a denoiser and embeddings on its device and a number of images.

    maps: feature maps of the images, with which a DiT's tokens are aligned.
    """
    from diffusers.training_utils import EMAModel

    packed = Packed(denoiser) if config.precision == "auto" and can_pack(denoiser) else None
    trained = [packed.flat] if packed else [parameter for parameter in denoiser.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=0.0, fused=True)
    average = EMAModel(trained, decay=config.ema_decay, use_ema_warmup=True, power=3 / 4, foreach=True)
    draw = rng(config.seed, "generator training")
    order = torch.randperm(images, generator=draw)
    alignment = None
    if maps is not None:
        assert not isinstance(config.align, str), "the weight is not resolved yet"
        place = next(denoiser.parameters()).device
        alignment = Alignment(maps, denoiser, packed, config.align, config.seed).to(place)
        optimiser.add_param_group({"params": list(alignment.parameters())})
    return Training(denoiser.train(), optimiser, average, draw, order, [], packed, family, embeddings, alignment)


def train(
    state: Training, source: Source, labels: Tensor, scheduler: DDPMScheduler, config: GeneratorConfig
) -> Iterator[Progress]:
    """Take the steps that are left, one per item; between two of them the state may be saved.

    The squared error of what the scheduler says is predicted, on uniform t (Ho et al., 2020), or the absolute error of
    the clean sample, weighted by min-SNR on request; the variance, where it is learned, by its likelihood; labels (N,)
    are dropped to the null class once per image; alignment on request; AdamW with a linear warm-up; the denoiser's
    gradients clipped at norm 1. Errors: NonFiniteError naming the step.
    """
    images = len(labels)
    batch = min(config.batch_size, images)
    while state.step < config.steps:
        if len(state.order) < batch:
            again = torch.randperm(images, generator=state.draw, device=state.draw.device)
            state.order = torch.cat([state.order, again.cpu()])
        ahead = state.order.split(batch)[: min(len(state.order) // batch, config.steps - state.step)]
        items = source.stream(ahead)
        for chosen in ahead:
            start = monotonic()
            item = next(items)
            waited = monotonic() - start
            state.order = state.order[batch:]
            part = Batch(item, chosen, labels[chosen])
            yield replace(one_step(state, source, part, scheduler, config), waited=waited)


def one_step(
    state: Training, source: Source, part: Batch, scheduler: DDPMScheduler, config: GeneratorConfig
) -> Progress:
    """Take one step on a batch of a source."""
    denoiser, draw, batch = state.denoiser, state.draw, len(part.labels)
    device = next(denoiser.parameters()).device
    place = draw.device
    t = torch.randint(scheduler.config.num_train_timesteps, (batch,), generator=draw, device=place).to(device)
    eps = torch.randn((batch, *source.shape), generator=draw, device=place).to(device)
    dropped = torch.rand(batch, generator=draw, device=place) < config.label_dropout
    flipped = torch.rand(batch, generator=draw, device=place) < 0.5 if config.flip else None
    null = state.family.null(denoiser, state.embeddings)
    assert null is not None  # as tables are made with a null class
    y = conditions_of(state, part.labels).to(device).masked_fill(dropped.to(device), null)
    x0 = source.latents(part.item, flipped).to(device)
    x_t = scheduler.add_noise(x0, eps, t)
    kind, alpha_bars = scheduler.config.prediction_type, scheduler.alphas_cumprod.to(device)
    abar = alpha_bars[t].view(-1, 1, 1, 1)
    x, time = network_input(x_t, t, abar, kind)
    output = predict(state, x, time.flatten(), y, half_precision(config, device.type))
    prediction, share = output[:, : eps.shape[1]], output[:, eps.shape[1] :]
    found, wanted, measured = prediction, target(x0, eps, abar, kind), kind
    if config.loss == "absolute":
        found, wanted, measured = x0_and_eps(prediction, x_t, abar, kind)[0], x0, "sample"
    weights = None
    if config.min_snr:
        from diffusers.training_utils import compute_snr

        weights = min_snr_weights(compute_snr(scheduler, t), config.min_snr, measured, config.snr_offset)
    loss = weighted_loss(found, wanted, weights, config.loss)
    if share.shape[1] and kind != FLOW:
        x0hat, _ = x0_and_eps(prediction, x_t, abar, kind)
        loss = loss + variance_loss(share, x0hat, x0, alpha_bars, t).mean()
    if state.alignment is not None:
        loss = loss + state.alignment.loss(part.positions, flipped)
    rate = config.learning_rate * rate_factor(state.step, config)
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    trained = state.optimiser.param_groups[0]["params"]
    norm, value = torch.stack([torch.nn.utils.clip_grad_norm_(trained, 1.0), loss.detach()]).tolist()
    if not isfinite(value + norm):
        raise NonFiniteError(f"generator training: loss {value}, gradient norm {norm} at step {state.step}")
    state.optimiser.step()
    state.average.step(trained)
    state.losses.append(value)
    return Progress(state.step, value, rate, norm)


def conditions_of(state: Training, labels: Tensor) -> Tensor:
    """Return the conditions (B,) of labels (B,): the labels themselves, or a prompt of each class drawn at random."""
    if state.embeddings is None:
        return labels
    counts = torch.tensor(state.embeddings.counts)
    first = counts.cumsum(0) - counts
    return first[labels] + (torch.rand(len(labels), generator=state.draw) * counts[labels]).long()


def predict(state: Training, x: Tensor, t: Tensor, conditions: Tensor, half: bool) -> Tensor:
    """Return the denoiser's output for its input x (B, C, H, W), in float32; half: computed with bfloat16."""
    if state.packed is not None:
        return state.packed(x, t, conditions, torch.bfloat16 if half else torch.float32)
    with torch.autocast(x.device.type, torch.bfloat16, enabled=half):
        return state.family.call(state.denoiser, x, t, conditions, state.embeddings).float()


def half_precision(config: GeneratorConfig, device: str) -> bool:
    """Return whether training computes in bfloat16; `auto` does where the hardware has instructions for it."""
    return config.precision == "bfloat16" or (config.precision == "auto" and computes_in_bfloat16(device))


def weighted_loss(prediction: Tensor, wanted: Tensor, weights: Tensor | None, loss: str = "squared") -> Tensor:
    """Return the mean squared or absolute error of (B, C, H, W), each image times its weight (B,) if there are any."""
    error = (F.mse_loss if loss == "squared" else F.l1_loss)(prediction, wanted, reduction="none")
    return error.mean() if weights is None else (error.flatten(1).mean(1) * weights).mean()


def variance_loss(share: Tensor, x0hat: Tensor, x0: Tensor, alpha_bars: Tensor, t: Tensor) -> Tensor:
    """Return the KL divergence in bits per value, (B,), of the predicted step x_t -> x_{t-1} from the true posterior.

    share: the extra channels (B, C, H, W), -1 for the posterior's variance and 1 for beta, in logarithms. x0hat: the
    predicted clean sample, which this does not train. alpha_bars: of all training steps; t (B,). The last step, t = 0,
    draws no noise and has no variance to learn: its loss is zero.
    """
    column = (-1, 1, 1, 1)
    abar = alpha_bars[t].view(column)
    previous = alpha_bars[(t - 1).clamp_min(0)].view(column)
    beta = 1 - abar / previous
    posterior = (beta * (1 - previous) / (1 - abar)).clamp_min(1e-20)
    low, high = posterior.log(), beta.clamp_min(1e-20).log()
    log_variance = low + (share + 1) / 2 * (high - low)
    # The means differ by x0 minus its prediction, times x0's coefficient in the posterior's mean.
    distance = previous.sqrt() * beta / (1 - abar) * (x0 - x0hat.detach())
    kl = 0.5 * (log_variance - low - 1 + (low - log_variance).exp() + distance.square() * (-log_variance).exp())
    bits = kl.flatten(1).mean(1) / torch.log(torch.tensor(2.0))
    return bits.where(t > 0, 0.0)


def noise_schedule(config: GeneratorConfig, limit: float) -> DDPMScheduler:
    """Return the schedule of training. limit: sampling clamps predicted clean latents to +- this."""
    if config.prediction == FLOW:
        levels = flow_schedule({"num_train_timesteps": config.train_timesteps}, Path("generator.train_timesteps"))
        return diffusers.DDPMScheduler.from_config({**levels, "clip_sample": True, "clip_sample_range": limit})
    return diffusers.DDPMScheduler(
        num_train_timesteps=config.train_timesteps,
        beta_start=config.beta_start,
        beta_end=config.beta_end,
        prediction_type=config.prediction,
        clip_sample=True,
        clip_sample_range=limit,
    )


def rate_factor(step: int, config: GeneratorConfig) -> float:
    """Return the factor on the learning rate: linear up over warmup_steps, then 1 or half a cosine to zero."""
    if step < config.warmup_steps:
        return (step + 1) / (config.warmup_steps + 1)
    if config.schedule == "constant":
        return 1.0
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return 0.5 * (1 + cos(pi * progress))
