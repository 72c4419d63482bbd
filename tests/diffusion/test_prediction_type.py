"""Noise, clean sample and v are three words for the same: against diffusers' schedulers, and learned."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from diffusers.training_utils import compute_snr

from lgd.config import GeneratorConfig, SamplingConfig
from lgd.data.imageset import ImageSet
from lgd.diffusion.autoencoder import Pixels
from lgd.diffusion.generator import Generator, new_denoiser
from lgd.diffusion.latents import PixelSource
from lgd.diffusion.prediction_type import KINDS, min_snr_weights, noise_of, target
from lgd.diffusion.train import begin, noise_schedule, train, weighted_loss
from lgd.experiments.preview import preview_samples

SCHEDULE = DDPMScheduler()
T = torch.tensor([0, 3, 250, 700, 999])
ABAR = SCHEDULE.alphas_cumprod[T].view(-1, 1, 1, 1)


def drawn() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    x0, eps = torch.randn(2, len(T), 2, 3, 3, generator=draw).unbind()
    return x0, eps, SCHEDULE.add_noise(x0, eps, T)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_a_right_answer_implies_the_noise(kind: str) -> None:
    x0, eps, x_t = drawn()
    found = noise_of(target(x0, eps, ABAR, kind), x_t, ABAR, kind)
    torch.testing.assert_close(found, eps, rtol=0, atol=2e-4)  # rounding, divided by sqrt(1 - abar) = 0.01 at t = 0
    one = noise_of(target(x0, eps, ABAR, kind)[3], x_t[3], float(ABAR[3]), kind)
    torch.testing.assert_close(one, eps[3], rtol=0, atol=1e-5)


def test_v_is_diffusers_velocity() -> None:
    x0, eps, _ = drawn()
    torch.testing.assert_close(target(x0, eps, ABAR, "v_prediction"), SCHEDULE.get_velocity(x0, eps, T))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_a_scheduler_steps_alike_on_a_word_and_on_its_noise(kind: str) -> None:
    draw = torch.Generator().manual_seed(1)
    word, x_t = torch.randn(2, 1, 2, 3, 3, generator=draw).unbind()
    theirs, ours = (DDIMScheduler(prediction_type=k, clip_sample=False) for k in (kind, "epsilon"))
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(10)
    abar = float(ours.alphas_cumprod[500])
    expected = theirs.step(word, 500, x_t).prev_sample
    found = ours.step(noise_of(word, x_t, abar, kind), 500, x_t).prev_sample
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


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
@pytest.mark.parametrize("kind", KINDS)
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
