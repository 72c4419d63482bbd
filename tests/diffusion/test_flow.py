"""A velocity model is a denoiser of a rescaled x_t: against diffusers' flow scheduler, and on a Gaussian."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from tests.diffusion.pipelines import save_pipeline
from torch import Tensor

from lgd.config import GeneratorConfig, SamplingConfig
from lgd.diffusion.autoencoder import Pixels
from lgd.diffusion.describe import describe
from lgd.diffusion.families.flow import FLOW, noise_levels, schedule
from lgd.diffusion.folder import open_generator
from lgd.diffusion.generator import Generator
from lgd.diffusion.sampler import sample, steps_of
from lgd.errors import UserError
from lgd.experiments.preview import preview_samples
from lgd.guidance.classifier_free import classifier_free

MEAN, DEVIATION = 0.7, 0.4


def sigmas_of(scheduler: object) -> list[float]:
    """Noise levels of the steps, from abar alone: the ratio of noise to all."""
    return [(1 - s.alpha_bar) ** 0.5 / (s.alpha_bar**0.5 + (1 - s.alpha_bar) ** 0.5) for s in steps_of(scheduler)]


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_the_schedule_has_the_levels_of_diffusers(shift: float) -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    torch.testing.assert_close(noise_levels(1000, shift).float(), scheduler.sigmas.flip(0), rtol=1e-6, atol=0)
    config = schedule(dict(scheduler.config), Path())
    generator = Generator(None, config, Pixels(), (), (), FLOW)
    ours = sigmas_of(generator.schedule(SamplingConfig("ddim", 20, classifier_free_scale=1.0)))
    scheduler.set_timesteps(sigmas=[(20 - i) / 20 for i in range(20)])
    torch.testing.assert_close(torch.tensor(ours), scheduler.sigmas[:-1], rtol=0, atol=3e-4)


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_ddim_is_the_flow_schedulers_euler(tmp_path: Path, scale: float) -> None:
    """With any network; one with the extra channels of a variance, which SiT's ignore."""
    pipeline = save_pipeline(tmp_path / "flow")
    flow = FlowMatchEulerDiscreteScheduler(shift=3.0)
    flow.save_pretrained(tmp_path / "flow" / "scheduler")
    source = f"pretrained:{tmp_path / 'flow'}"
    generator = open_generator(GeneratorConfig(source=source), tmp_path, ("tench", "golden retriever"), (3, 8, 8))
    assert generator.family is FLOW
    assert not generator.learned_variance
    x = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    ids = generator.conditions_of(torch.tensor([0, 1]), (0, 1))
    scheduler = generator.schedule(SamplingConfig("ddim", 10, classifier_free_scale=scale))
    ours = sample(classifier_free(generator, ids, scale), scheduler, x)

    # The start is x_T, which is z times sqrt(abar) + sqrt(1 - abar).
    first = steps_of(scheduler)[0].alpha_bar
    z = x / (first**0.5 + (1 - first) ** 0.5)
    levels = sigmas_of(scheduler)
    plain = FlowMatchEulerDiscreteScheduler()
    plain.set_timesteps(sigmas=levels)
    for t in plain.timesteps:
        with torch.no_grad():
            both = pipeline.transformer(
                torch.cat([z, z]), timestep=t.expand(4), class_labels=torch.tensor([0, 207, 1000, 1000])
            )
        own, free = both.sample[:, :4].chunk(2)
        z = plain.step(free + scale * (own - free), t, z).prev_sample
    assert ours.std() > 0.5
    torch.testing.assert_close(ours, z, rtol=1e-3, atol=1e-3)
    assert "1000 steps of a flow, shift 3; predicts the velocity" in describe(source)


def velocity(z: Tensor, sigma: Tensor) -> Tensor:
    """E[eps - x0 | z] for x0 of a normal distribution with MEAN and DEVIATION."""
    sigma = sigma.view(-1, 1, 1, 1)
    variance = (1 - sigma) ** 2 * DEVIATION**2 + sigma**2
    apart = (z - (1 - sigma) * MEAN) / variance
    return sigma * apart - (MEAN + (1 - sigma) * DEVIATION**2 * apart)


@pytest.fixture
def gaussian() -> Generator:
    """Its network is the exact velocity, of 1 x 8 x 8 pixels."""
    config = SimpleNamespace(in_channels=1, sample_size=8, out_channels=1, num_embeds_ada_norm=1)
    denoiser = SimpleNamespace(config=config, dtype=torch.float32, parameters=lambda: iter([torch.ones(1)]))
    family = replace(FLOW, call=lambda denoiser, z, t, conditions, embeddings: velocity(z, t / 1000))
    return Generator(denoiser, schedule({"shift": 1.0}, Path()), Pixels(), ("a",), (0,), family)


def test_a_gaussian_is_transported_exactly(gaussian: Generator) -> None:
    """The flow's map from noise x is MEAN + DEVIATION x, to which Euler's steps converge at first order."""
    x = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    errors = []
    for steps in (50, 200):
        scheduler = gaussian.schedule(SamplingConfig("ddim", steps, classifier_free_scale=1.0))
        ours = sample(classifier_free(gaussian, torch.tensor([0]), 1.0), scheduler, x)
        errors.append(float((ours - (MEAN + DEVIATION * x)).abs().max()))
        plain = FlowMatchEulerDiscreteScheduler()
        plain.set_timesteps(sigmas=sigmas_of(scheduler))
        z = x
        for t in plain.timesteps:
            z = plain.step(velocity(z, t[None] / 1000), t, z).prev_sample
        torch.testing.assert_close(ours, z, rtol=0, atol=1e-3)
    assert errors[1] < 0.02
    assert 3 < errors[0] / errors[1] < 5


@pytest.mark.parametrize("name", ["ddpm", "dpm++"])
def test_other_samplers_draw_from_the_gaussian(gaussian: Generator, name: str) -> None:
    sampling = SamplingConfig(name, 200, classifier_free_scale=1.0)  # type: ignore[arg-type]
    x = torch.randn(200, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    streams = [torch.Generator().manual_seed(seed) for seed in range(200)]
    denoiser = classifier_free(gaussian, torch.zeros(200, dtype=torch.long), 1.0)
    drawn = sample(denoiser, gaussian.schedule(sampling), x, streams)
    assert drawn.mean() == pytest.approx(MEAN, abs=0.02)
    assert drawn.std() == pytest.approx(DEVIATION, rel=0.05)
    assert len(preview_samples(gaussian, [0], 3, sampling, 0)) == 3


def test_levels_that_depend_on_the_image_are_refused() -> None:
    with pytest.raises(UserError, match="use_dynamic_shifting is not supported"):
        schedule({"use_dynamic_shifting": True}, Path("f"))
    with pytest.raises(UserError, match="num_train_timesteps 500 is not supported"):
        schedule({"num_train_timesteps": 500}, Path("f"))
