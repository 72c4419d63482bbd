from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from tests.denoisers import of_noise
from torch import Tensor, nn
from torch.nn import functional as F

from lgd.config import GuidanceConfig
from lgd.diffusion.sampler import sample, steps_of
from lgd.diffusion.types import Step
from lgd.errors import NonFiniteError
from lgd.guidance.deviation import cosine_gradient, deviation_guided, nearest_memory, padded
from lgd.guidance.learnability import learnability, learnability_guided, score_gradient
from lgd.guidance.vectors import IGD_U, norm, unit
from lgd.rng import noise, seeded_initialisation

C, H, W, CLASSES = 2, 4, 4, 3


def network(*parts: int) -> nn.Module:
    """A small smooth classifier of (B, 2, 4, 4), in double precision."""
    with seeded_initialisation(*parts):
        return nn.Sequential(nn.Flatten(), nn.Linear(C * H * W, 8), nn.Tanh(), nn.Linear(8, CLASSES)).double()


def denoiser_of(*parts: int):  # type: ignore[no-untyped-def]
    with seeded_initialisation(*parts):
        layer = nn.Conv2d(C, C, 3, padding=1).double().requires_grad_(False)
    return lambda x, step: of_noise(torch.tanh(layer(x)) + 0.9 * x * (1 - step.alpha_bar) ** 0.5, x, step)


LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
LEARNER, REFERENCE = network(1), network(2)


def score(x0: Tensor) -> Tensor:
    return learnability(x0, LABELS[: len(x0)], [LEARNER], REFERENCE, 0.5)


def draw(seed: int, count: int = 8) -> Tensor:
    return torch.randn(count, C, H, W, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_score_is_loss_of_learners_minus_omega_times_loss_of_reference() -> None:
    x = draw(0, 3)
    second = network(3)
    got = learnability(x, LABELS[:3], [LEARNER, second], REFERENCE, 0.5)
    for i in range(3):
        y = LABELS[i]
        losses = [-torch.log_softmax(net(x[i : i + 1]), 1)[0, y] for net in (LEARNER, second, REFERENCE)]
        assert got[i].item() == pytest.approx(((losses[0] + losses[1]) / 2 - 0.5 * losses[2]).item())
    alone = F.cross_entropy(LEARNER(x), LABELS[:3], reduction="none")
    assert torch.equal(learnability(x, LABELS[:3], [LEARNER], REFERENCE, 0), alone)


@pytest.mark.parametrize("route", ["denoiser", "x0"])
def test_gradient_equals_finite_differences(route: str) -> None:
    inner, step, x = denoiser_of(7), Step(5, 300, 0.4), draw(3, 2)
    prediction, g = score_gradient(inner, score, x, step, route)
    assert not prediction.eps.requires_grad
    constant = inner(x, step).eps

    def total(x_t: Tensor) -> float:
        eps = inner(x_t, step).eps if route == "denoiser" else constant
        return score((x_t - 0.6**0.5 * eps) / 0.4**0.5).sum().item()

    h = 1e-6
    for index in [(0, 0, 0, 0), (0, 1, 2, 3), (1, 0, 3, 1), (1, 1, 1, 2)]:
        e = torch.zeros_like(x)
        e[index] = h
        assert g[index].item() == pytest.approx((total(x + e) - total(x - e)) / (2 * h), rel=1e-5, abs=1e-9)


def guided_and_unguided(config: GuidanceConfig, scheduler: str, memory: list[Tensor]) -> tuple[Tensor, Tensor]:
    results = []
    for wrap in (True, False):
        make = DDPMScheduler if scheduler == "ddpm" else DDIMScheduler
        schedule = make(clip_sample=False, timestep_spacing="linspace" if scheduler == "ddpm" else "trailing")
        schedule.set_timesteps(20)
        generators = [torch.Generator().manual_seed(seed) for seed in range(8)]
        denoiser = denoiser_of(7)
        if wrap:
            denoiser = deviation_guided(learnability_guided(denoiser, score, config), memory, config)
        results.append(sample(denoiser, schedule, noise(generators, (C, H, W)).double(), generators))
    return results[0], results[1]


@pytest.mark.parametrize(
    ("space", "scheduler", "strength", "deviation"),
    [("noise", "ddpm", 0.3, 0.3), ("noise", "ddim", 0.3, 0.3), ("sample", "ddpm", 100.0, 1.0)],
)
@pytest.mark.parametrize("route", ["denoiser", "x0"])
def test_guidance_climbs_the_score_and_leaves_the_memory(
    space: str, scheduler: str, strength: float, deviation: float, route: str
) -> None:
    """The sign rule: from the same noise, a higher mean S and a lower mean nearest-memory cosine."""
    none = [torch.empty(0)] * 8
    climb = GuidanceConfig(strength=strength, deviation=0.0, space=space, route=route, window=(1, 18))  # type: ignore[arg-type]
    guided, unguided = guided_and_unguided(climb, scheduler, none)
    assert score(guided).mean() > score(unguided).mean() + 0.02
    assert (score(guided) > score(unguided)).float().mean() > 0.7

    memory = [unguided[[i]] for i in range(8)]
    away = GuidanceConfig(strength=0.0, deviation=deviation, space=space, window=(1, 18))  # type: ignore[arg-type]
    guided, unguided = guided_and_unguided(away, scheduler, memory)
    near, far = (nearest_memory(x, padded(memory))[1].mean() for x in (unguided, guided))
    assert far < near - 0.01


def test_schedulers_that_take_the_noise_or_the_clean_sample_end_alike() -> None:
    """Guidance in noise space moves eps and x0 alike."""
    config = GuidanceConfig(strength=0.3, deviation=0.3, window=(1, 18))
    memory, ends = [draw(i, 2) for i in range(8)], []
    for kind in ("epsilon", "sample"):
        schedule = DDIMScheduler(clip_sample=False, timestep_spacing="trailing", prediction_type=kind)
        schedule.set_timesteps(20)
        denoiser = deviation_guided(learnability_guided(denoiser_of(7), score, config), memory, config)
        ends.append(sample(denoiser, schedule, draw(0)))
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-4, atol=1e-4)


def test_outside_the_window_nothing_changes() -> None:
    inner, x = denoiser_of(7), draw(0)
    config = GuidanceConfig(strength=0.5, deviation=0.5, window=(10, 45))
    guided = deviation_guided(learnability_guided(inner, score, config), [draw(i, 2) for i in range(8)], config)
    for index, changes in ((9, False), (10, True), (45, True), (46, False)):
        step = Step(index, 20 * index, 0.3)
        assert torch.equal(guided(x, step).eps, inner(x, step).eps) is not changes


def test_noise_space_has_the_stated_length() -> None:
    inner, step, x = denoiser_of(7), Step(20, 400, 0.3), draw(0)
    config = GuidanceConfig(strength=0.25, deviation=0.0, window=(10, 45))
    eps, guided = inner(x, step).eps, learnability_guided(inner, score, config)(x, step).eps
    torch.testing.assert_close(norm(guided - eps), 0.25 * 0.7**0.5 * norm(eps))


def test_sample_space_is_the_formula_of_igds_code() -> None:
    inner, step, x = denoiser_of(7), Step(20, 400, 0.3), draw(0)
    config = GuidanceConfig(strength=15.0, deviation=0.0, space="sample", route="denoiser", window=(10, 45))
    prediction = learnability_guided(inner, score, config)(x, step)
    eps, g = prediction.eps, score_gradient(inner, score, x, step, "denoiser")[1]
    assert torch.equal(eps, inner(x, step).eps)
    for i in range(8):
        rms = (eps[i].square().mean() / g[i].square().mean()) ** 0.5
        torch.testing.assert_close(prediction.shift[i], 15 * IGD_U * 0.7**0.5 * rms * g[i])  # type: ignore[index]


def test_spaces_convert_as_the_method_says() -> None:
    """A change d of eps moves the DDPM mean by -beta / (sqrt(alpha) sqrt(1 - abar)) d, with respaced alpha and beta."""
    scheduler = DDPMScheduler(clip_sample=False, timestep_spacing="linspace")
    scheduler.set_timesteps(50)
    steps = steps_of(scheduler)
    x, eps, d = draw(0, 1), draw(1, 1), draw(2, 1)
    here, after = next((a, b) for a, b in pairwise(steps) if a.index == 20)
    alpha = here.alpha_bar / after.alpha_bar
    g = torch.Generator()
    moved = scheduler.step(eps + d, here.timestep, x, generator=g.manual_seed(0)).prev_sample
    plain = scheduler.step(eps, here.timestep, x, generator=g.manual_seed(0)).prev_sample
    torch.testing.assert_close(
        moved - plain, -(1 - alpha) / (alpha * (1 - here.alpha_bar)) ** 0.5 * d, rtol=1e-5, atol=1e-7
    )


def test_cosine_gradient_equals_autograd() -> None:
    x, m = draw(0).requires_grad_(), draw(1)
    F.cosine_similarity(x.flatten(1), m.flatten(1)).sum().backward()
    torch.testing.assert_close(cosine_gradient(x.detach(), m), x.grad)


def test_nearest_memory_is_the_best_of_a_plain_loop() -> None:
    x, memory = draw(0), [draw(10 + i, i % 4) for i in range(8)]
    nearest, cosine, known = nearest_memory(x, padded(memory))
    for i in range(8):
        candidates = [(F.cosine_similarity(x[i].flatten(), m.flatten(), dim=0).item(), m) for m in memory[i]]
        assert bool(known[i]) == bool(candidates)
        if candidates:
            best, m = max(candidates, key=lambda pair: pair[0])
            assert torch.equal(nearest[i], m)
            assert cosine[i].item() == pytest.approx(best)


def test_samples_without_memory_are_left_alone() -> None:
    inner, step, x = denoiser_of(7), Step(20, 400, 0.3), draw(0, 2)
    config = GuidanceConfig(deviation=0.5)
    eps = deviation_guided(inner, [torch.empty(0), draw(1, 3)], config)(x, step).eps
    plain = inner(x, step).eps
    assert torch.equal(eps[0], plain[0])
    assert not torch.equal(eps[1], plain[1])


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_unit_survives_extremes(scale: float) -> None:
    g = draw(0).float() * scale
    torch.testing.assert_close(unit(g), F.normalize(draw(0).float().flatten(1)).view_as(g))


def test_a_zero_gradient_is_an_unguided_step() -> None:
    assert torch.equal(unit(torch.zeros(2, 3)), torch.zeros(2, 3))
    inner, step, x = denoiser_of(7), Step(20, 400, 0.3), draw(0)
    guided = learnability_guided(inner, lambda x0: (x0 * 0).flatten(1).sum(1), GuidanceConfig())
    assert torch.equal(guided(x, step).eps, inner(x, step).eps)


def test_a_nan_gradient_is_named_with_its_step() -> None:
    guided = learnability_guided(denoiser_of(7), lambda x0: x0.flatten(1).sum(1) * float("nan"), GuidanceConfig())
    with pytest.raises(NonFiniteError, match=r"guidance: .* step index 20 \(t = 400\)"):
        guided(draw(0), Step(20, 400, 0.3))
