"""Noise, clean sample and v imply each other: against diffusers' schedulers, and learned."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr

from lgd.config import GeneratorConfig, SamplingConfig
from lgd.data.imageset import ImageSet
from lgd.diffusion.autoencoder import Pixels
from lgd.diffusion.families.dit import new_denoiser
from lgd.diffusion.generator import Generator
from lgd.diffusion.latents import PixelSource
from lgd.diffusion.prediction_type import FLOW, KINDS, min_snr_weights, target, x0_and_eps
from lgd.diffusion.sampler import sample
from lgd.diffusion.train import begin, noise_schedule, train, weighted_loss
from lgd.diffusion.types import Prediction, Step
from lgd.experiments.preview import preview_samples
from lgd.guidance.classifier_free import classifier_free
from lgd.rng import noise

SCHEDULE = DDPMScheduler()
T = torch.tensor([0, 3, 250, 700, 999])
ABAR = SCHEDULE.alphas_cumprod[T].view(-1, 1, 1, 1)


def drawn() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    x0, eps = torch.randn(2, len(T), 2, 3, 3, generator=draw).unbind()
    return x0, eps, SCHEDULE.add_noise(x0, eps, T)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_the_right_output_implies_noise_and_clean_sample(kind: str) -> None:
    x0, eps, x_t = drawn()
    found = x0_and_eps(target(x0, eps, ABAR, kind), x_t, ABAR, kind)
    # rounding, divided by sqrt(abar) = 0.006 at t = 999 or by sqrt(1 - abar) = 0.01 at t = 0
    for ours, right in zip(found, (x0, eps), strict=True):
        torch.testing.assert_close(ours, right, rtol=0, atol=2e-4)
    ours = x0_and_eps(target(x0, eps, ABAR, kind)[3], x_t[3], float(ABAR[3]), kind)
    for one, right in zip(ours, (x0, eps), strict=True):
        torch.testing.assert_close(one, right[3], rtol=0, atol=1e-5)


def test_guided_noise_and_clean_sample_still_make_up_x_t() -> None:
    x0, eps, x_t = (part[[3]].double() for part in drawn())
    step, delta = Step(20, 700, float(ABAR[3])), torch.randn(1, 2, 3, 3, generator=torch.Generator().manual_seed(1))
    moved = Prediction(x0, eps).minus_noise(delta, step)
    assert torch.equal(moved.eps, eps - delta)
    both = step.alpha_bar**0.5 * moved.x0 + (1 - step.alpha_bar) ** 0.5 * moved.eps
    torch.testing.assert_close(both, x_t, rtol=0, atol=1e-6)
    torch.testing.assert_close(x0_and_eps(eps - delta, x_t, step.alpha_bar, "epsilon")[0], moved.x0, rtol=0, atol=1e-5)


def test_v_is_diffusers_velocity() -> None:
    x0, eps, _ = drawn()
    torch.testing.assert_close(target(x0, eps, ABAR, "v_prediction"), SCHEDULE.get_velocity(x0, eps, T))  # type: ignore[arg-type]


def test_v_is_edms_preconditioning_of_data_of_unit_variance() -> None:
    """EDM's F at x0 + sigma eps (Karras et al., 2022, table 1, sigma_data = 1) is -v, and its loss weighs it by 1."""
    x0, eps, x_t = (part[1:4].double() for part in drawn())  # without the ends, where rounding is large
    abar = ABAR[1:4].double()
    sigma = ((1 - abar) / abar).sqrt()
    c_skip, c_out, c_in = 1 / (sigma**2 + 1), sigma / (sigma**2 + 1).sqrt(), 1 / (sigma**2 + 1).sqrt()
    noised = x0 + sigma * eps
    torch.testing.assert_close(c_in * noised, x_t, rtol=0, atol=1e-6)
    network = (x0 - c_skip * noised) / c_out
    torch.testing.assert_close(network, -target(x0, eps, abar, "v_prediction"), rtol=0, atol=1e-9)
    weight = (sigma**2 + 1) / sigma**2
    torch.testing.assert_close(weight * c_out**2, torch.ones_like(sigma))


@pytest.mark.parametrize("name", ["ddpm", "ddim", "dpm++"])
@pytest.mark.parametrize("kind", KINDS)
def test_sampling_equals_diffusers_loop_on_the_raw_output(kind: str, name: Literal["ddpm", "ddim", "dpm++"]) -> None:
    """diffusers' scheduler of the same kind, given the output itself; exactly, save for v, which it converts."""
    denoiser = new_denoiser(GeneratorConfig(blocks=1, heads=2, head_width=8), (1, 4, 4), 2).eval().requires_grad_(False)
    torch.nn.init.normal_(denoiser.proj_out_2.weight, std=0.2, generator=torch.Generator().manual_seed(0))
    config = dict(DDPMScheduler(prediction_type=kind, clip_sample=False).config)
    generator = Generator(denoiser, config, Pixels(), ("a", "b"), (0, 1))
    labels, sampling = torch.tensor([0, 1]), SamplingConfig(name, 10, classifier_free_scale=1.0)
    first, second = ([torch.Generator().manual_seed(seed) for seed in (1, 2)] for _ in range(2))
    start = noise(first, (1, 4, 4))
    ours = sample(classifier_free(generator, labels, 1.0), generator.schedule(sampling), start, first)

    theirs = generator.schedule(sampling)
    theirs.register_to_config(prediction_type=kind)
    x = noise(second, (1, 4, 4))
    extra = {} if name == "dpm++" else {"generator": second}
    for t in theirs.timesteps:
        x = theirs.step(denoiser(x, timestep=t.expand(2), class_labels=labels).sample, t, x, **extra).prev_sample
    close = {"rtol": 1e-4, "atol": 1e-4} if kind == "v_prediction" else {"rtol": 0, "atol": 0}
    torch.testing.assert_close(ours, x, **close)


@pytest.mark.parametrize("kind", KINDS)
def test_min_snr_weighs_the_same_error_the_same(kind: str) -> None:
    """min(SNR, gamma) times the squared error of x0, whatever is predicted."""
    x0, eps, x_t = drawn()
    t = T[1:]  # at t = 0 the noise's error is all rounding
    x0, eps, x_t, abar = x0[1:], eps[1:], x_t[1:], ABAR[1:]
    wrong = x0 + 0.1
    implied = (x_t - abar.sqrt() * wrong) / (1 - abar).sqrt()
    loss = weighted_loss(
        target(wrong, implied, abar, kind),
        target(x0, eps, abar, kind),
        min_snr_weights(compute_snr(SCHEDULE, t), 5.0, kind),  # type: ignore[arg-type]
    )
    snr = (abar / (1 - abar)).flatten()
    torch.testing.assert_close(loss, 0.01 * snr.clamp(max=5.0).mean(), rtol=1e-3, atol=0)


@pytest.mark.parametrize("precision", ["float32", "auto"])
@pytest.mark.parametrize("kind", [*KINDS, FLOW])
def test_what_was_learned_is_drawn(kind: str, precision: str) -> None:
    """Two classes of one image each, from the first step of training to the last of sampling."""
    dark_and_light = torch.stack([torch.full((1, 4, 4), value, dtype=torch.uint8) for value in (40, 200)])
    dark_and_light[:, :, :2] += 30
    images = ImageSet(dark_and_light.repeat(32, 1, 1, 1), torch.arange(64) % 2, ("dark", "light"))
    config = GeneratorConfig(
        blocks=1,
        heads=2,
        head_width=16,
        steps=150,
        batch_size=32,
        learning_rate=1e-2,
        ema_decay=0.9,
        prediction=kind,  # type: ignore[arg-type]
        precision=precision,  # type: ignore[arg-type]
    )
    denoiser, scheduler = new_denoiser(config, images.shape, 2), noise_schedule(config, 1.0)
    state = begin(denoiser, config, len(images))
    list(train(state, PixelSource(images), images.labels, scheduler, config))
    generator = Generator(denoiser.eval(), dict(scheduler.config), Pixels(), ("dark", "light"), (0, 1))
    assert generator.predicts == kind
    samples = preview_samples(generator, range(2), 4, SamplingConfig(steps=20, classifier_free_scale=1.0), 0)
    wanted = dark_and_light[samples.labels].float()
    error = (samples.images.float() - wanted).abs().mean()
    assert error < 12, error
