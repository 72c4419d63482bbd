from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from tests.denoisers import of_noise
from torch import Tensor

from lgd.config import SamplingConfig, load_config, with_values
from lgd.diffusion.autoencoder import Pixels
from lgd.diffusion.families.dit import new_denoiser
from lgd.diffusion.generator import Generator
from lgd.diffusion.sampler import sample, steps_of
from lgd.diffusion.types import Prediction, Step
from lgd.errors import NonFiniteError, UserError
from lgd.guidance.classifier_free import classifier_free
from lgd.rng import noise


@pytest.fixture(scope="module")
def generator() -> Generator:
    config = with_values(
        load_config("digits"), {"generator.blocks": 1, "generator.heads": 2, "generator.head_width": 8}
    )
    denoiser = new_denoiser(config.generator, (1, 8, 8), 3).eval().requires_grad_(False)
    torch.nn.init.normal_(denoiser.proj_out_2.weight, std=0.2, generator=torch.Generator().manual_seed(0))
    scheduler = dict(DDPMScheduler(beta_start=1e-4, beta_end=0.02, clip_sample=True).config)
    return Generator(denoiser, scheduler, Pixels(), ("a", "b", "c"), (0, 1, 2))


def streams(seeds: list[int]) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


@pytest.mark.parametrize("name", ["ddim", "dpm++"])
def test_equals_diffusers_own_loop(generator: Generator, name: str) -> None:
    labels = torch.tensor([0, 2])
    x_T = noise(streams([1, 2]), (1, 8, 8))
    ours = sample(classifier_free(generator, labels, 1.0), generator.schedule(SamplingConfig(name, 10)), x_T)

    kind = {"ddim": DDIMScheduler, "dpm++": DPMSolverMultistepScheduler}[name]
    theirs = generator.schedule(SamplingConfig(name, 10))
    assert type(theirs) is kind
    x = x_T
    for t in theirs.timesteps:
        eps = generator.denoiser(x, timestep=t.expand(2), class_labels=labels).sample
        x = theirs.step(eps, t, x).prev_sample
    torch.testing.assert_close(ours, x, rtol=0, atol=0)


def test_ddpm_equals_diffusers_with_the_same_generators(generator: Generator) -> None:
    labels = torch.tensor([0, 2])
    first = streams([1, 2])
    ours = sample(
        classifier_free(generator, labels, 1.0), generator.schedule(SamplingConfig()), noise(first, (1, 8, 8)), first
    )

    second = streams([1, 2])
    x, scheduler = noise(second, (1, 8, 8)), generator.schedule(SamplingConfig())
    for t in scheduler.timesteps:
        eps = generator.denoiser(x, timestep=t.expand(2), class_labels=labels).sample
        x = scheduler.step(eps, t, x, generator=second).prev_sample
    torch.testing.assert_close(ours, x, rtol=0, atol=0)


def test_step_indices_are_those_of_the_respaced_schedule(generator: Generator) -> None:
    steps = {step.index: step.timestep for step in steps_of(generator.schedule(SamplingConfig()))}
    assert len(steps) == 50
    assert {i: steps[i] for i in (0, 10, 25, 30, 39, 45, 49)} == {
        0: 0, 10: 204, 25: 510, 30: 612, 39: 795, 45: 917, 49: 999,
    }  # fmt: skip


def test_an_image_does_not_depend_on_its_batch(generator: Generator) -> None:
    def draw(seeds: list[int]) -> tuple[Tensor, Tensor]:
        g = streams(seeds)
        start = noise(g, (1, 8, 8))
        labels = torch.tensor([seed % 3 for seed in seeds])
        return start, sample(classifier_free(generator, labels, 2.0), generator.schedule(SamplingConfig()), start, g)

    start, together = draw([5, 6, 7, 8])
    for i, seed in enumerate([5, 6, 7, 8]):
        alone_start, alone = draw([seed])
        assert torch.equal(alone_start[0], start[i])
        torch.testing.assert_close(alone[0], together[i], rtol=1e-4, atol=1e-4)
    _, reordered = draw([8, 7, 6, 5])
    torch.testing.assert_close(reordered.flip(0), together, rtol=1e-4, atol=1e-4)


def test_learned_variance_reaches_the_scheduler() -> None:
    """With the variance channels at -1 the step is DDPM's smallest variance, at +1 the largest: beta."""
    scheduler = DDPMScheduler(variance_type="learned_range", clip_sample=False, timestep_spacing="linspace")
    spread = []
    for value in (-1.0, 1.0):
        scheduler.set_timesteps(10)
        seen: list[Tensor] = []

        def denoiser(x: Tensor, step: Step, value: float = value, seen: list[Tensor] = seen) -> Prediction:
            seen.append(x)
            return of_noise(x, x, step, torch.full_like(x, value))

        sample(denoiser, scheduler, torch.zeros(1, 2, 4, 4), streams([3]))
        spread.append(seen[1].std().item())
    variance = [scheduler._get_variance(999, torch.tensor(v)).exp() for v in (-1.0, 1.0)]
    assert spread[1] / spread[0] == pytest.approx(float((variance[1] / variance[0]) ** 0.5), rel=1e-4)


def test_classifier_free_guidance_is_its_formula(generator: Generator) -> None:
    x, step = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)), Step(5, 500, 0.1)
    labels = torch.tensor([1, 2])
    with torch.no_grad():
        conditional = generator.predict(x, step, labels).eps
        null = generator.predict(x, step, torch.tensor([3, 3])).eps
        guided = classifier_free(generator, labels, 4.0)(x, step).eps
    assert not torch.allclose(conditional, null)
    torch.testing.assert_close(guided, null + 4 * (conditional - null))


def test_a_shift_is_added_after_the_step() -> None:
    scheduler = DDIMScheduler(clip_sample=False, timestep_spacing="trailing")
    scheduler.set_timesteps(1)
    plain = sample(lambda x, step: of_noise(x, x, step), scheduler, torch.ones(1, 1, 2, 2))
    scheduler.set_timesteps(1)
    shifted = sample(lambda x, step: of_noise(x, x, step).shifted(x).shifted(x), scheduler, torch.ones(1, 1, 2, 2))
    torch.testing.assert_close(shifted - plain, torch.full((1, 1, 2, 2), 2.0))


def test_nan_is_named_with_its_step() -> None:
    scheduler = DDIMScheduler(timestep_spacing="trailing")
    scheduler.set_timesteps(10)

    def denoiser(x: Tensor, step: Step) -> Prediction:
        return of_noise(x * float("nan") if step.index == 4 else x, x, step)

    with pytest.raises(NonFiniteError, match=r"sampling: NaN or infinite values at step index 4 \(t = 499\)"):
        sample(denoiser, scheduler, torch.ones(1, 1, 2, 2))


def test_a_patch_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match="patch_size 2 does not fit images of 9 x 9"):
        new_denoiser(load_config("digits").generator, (1, 9, 9), 10)
