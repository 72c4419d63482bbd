"""The null half of IGD's batch against the sampling loop of its code, written from the formulas."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from lgd.config import SamplingConfig
from lgd.diffusion.generator import Generator
from lgd.diffusion.sampler import sample, steps_of
from lgd.guidance.classifier_free import NullHalf

TRAINED, STEPS, SCALE, GUIDED = 1000, 8, 4.0, 3
SHAPE = (4, 5, 5)


def output(x_t: Tensor, t: int, class_id: int) -> Tensor:
    """Noise and variance (B, 8, H, W) of a made-up denoiser."""
    return torch.cat([torch.sin(x_t / 4 + class_id + t / 500), torch.cos(x_t / 4 - class_id)], dim=1)


def made_up_generator() -> Any:
    """Its null class has the id 9."""
    schedule = DDPMScheduler(TRAINED, timestep_spacing="linspace", variance_type="learned_range", clip_sample=False)
    schedule.set_timesteps(STEPS)
    generator: Any = SimpleNamespace(
        predicts="epsilon",
        null_condition=9,
        learned_variance=True,
        output=lambda x, step, ids: torch.cat(
            [output(one[None], step.timestep, int(k)) for one, k in zip(x, ids, strict=True)]
        ),
    )

    def fresh(_: SamplingConfig) -> DDPMScheduler:
        made = DDPMScheduler.from_config(schedule.config)
        made.set_timesteps(STEPS)
        return made

    generator.schedule = fresh
    generator.prediction = lambda *parts: Generator.prediction(generator, *parts)
    return generator


def streams(first: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(first + i) for i in range(2)]


def igd_batch(noise: Tensor) -> tuple[list[Tensor], Tensor]:
    """DiT's `forward_with_cfg` and OpenAI's `p_sample` on a batch of two halves: x0 of the null half, and samples."""
    betas = torch.linspace(0.0001, 0.02, TRAINED, dtype=torch.float64)
    abar = (1 - betas).cumprod(0)
    kept = [round(i * (TRAINED - 1) / (STEPS - 1)) for i in range(STEPS)][::-1]
    drawn, nulls = [torch.Generator().manual_seed(10 + i) for i in range(2)], []
    others = [torch.Generator().manual_seed(20 + i) for i in range(2)]
    halves = [noise, noise]
    for place, t in enumerate(kept):
        now = float(abar[t])
        before = float(abar[kept[place + 1]]) if place + 1 < STEPS else 1.0
        beta = 1 - now / before
        of_class = torch.cat([output(x[None], t, k) for x, k in zip(halves[0], (7, 5), strict=True)])
        of_null = output(halves[0], t, 9)
        mixed = of_null[:, :GUIDED] + SCALE * (of_class[:, :GUIDED] - of_null[:, :GUIDED])
        for half, (said, generators) in enumerate(((of_class, drawn), (of_null, others))):
            eps = torch.cat([mixed, said[:, GUIDED:4]], 1)
            x = halves[half]
            x0 = (x - math.sqrt(1 - now) * eps) / math.sqrt(now)
            mean = math.sqrt(before) * beta / (1 - now) * x0 + math.sqrt(now / before) * (1 - before) / (1 - now) * x
            if half:
                nulls.append(x0)
            if place + 1 < STEPS:
                small = math.log(beta * (1 - before) / (1 - now))
                share = (said[:, 4:] + 1) / 2
                log_variance = share * math.log(beta) + (1 - share) * small
                added = torch.stack([torch.randn(SHAPE, generator=g, dtype=torch.float64) for g in generators])
                mean = mean + (0.5 * log_variance).exp() * added
            halves[half] = mean
    return nulls, halves[0]


def test_both_halves_are_those_of_the_public_loop() -> None:
    generator = made_up_generator()
    sampling = SamplingConfig(steps=STEPS, classifier_free_scale=SCALE, guided_channels=GUIDED)
    noise = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    null = NullHalf(generator, torch.tensor([7, 5]), sampling, streams(20))
    found: list[Tensor] = []

    def denoiser(x_t: Tensor, step: Any) -> Any:
        prediction = null.predict(x_t, step)
        found.append(null.x0)
        return prediction

    drawn = sample(denoiser, generator.schedule(sampling), noise, streams(10))
    expected, samples = igd_batch(noise)
    assert len(found) == STEPS
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * float(theirs.std()))
    torch.testing.assert_close(drawn, samples, rtol=0, atol=1e-4 * float(samples.std()))
    assert (expected[-1] - samples).abs().max() > samples.std()  # it is another image


def test_the_null_halfs_image_depends_on_the_class_half() -> None:
    """Its x0 has a gradient with respect to x_t, through the eps that both halves share."""
    generator, sampling = made_up_generator(), SamplingConfig(steps=STEPS, classifier_free_scale=SCALE)
    step = steps_of(generator.schedule(sampling))[0]
    null = NullHalf(generator, torch.tensor([5, 7]), sampling, streams(0))
    x_t = torch.randn(2, *SHAPE, requires_grad=True, generator=torch.Generator().manual_seed(0))
    with torch.enable_grad():
        null.predict(x_t, step)
        (g,) = torch.autograd.grad(null.x0.sum(), x_t)
    of_class, of_null = (
        torch.cos(x_t / 4 + ids.view(2, 1, 1, 1) + step.timestep / 500) / 4
        for ids in (torch.tensor([5, 7]), torch.tensor([9, 9]))
    )
    slope = of_null + SCALE * (of_class - of_null)
    scale = -math.sqrt((1 - step.alpha_bar) / step.alpha_bar)
    torch.testing.assert_close(g, scale * slope, rtol=1e-3, atol=1e-3 * abs(scale))
