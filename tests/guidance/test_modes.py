from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from diffusers import DDPMScheduler
from sklearn.cluster import KMeans
from tests.denoisers import of_noise

from lgd.config import ModesConfig
from lgd.diffusion.sampler import sample, steps_of
from lgd.diffusion.types import Prediction, Step
from lgd.guidance.modes import find_modes, mode_guided, posterior_deviation


def three_heaps() -> torch.Tensor:
    """12, 7 and 3 latents around three far corners, (22, 1, 2, 2)."""
    draw = torch.Generator().manual_seed(0)
    centres = [(12, -5.0), (7, 0.0), (3, 5.0)]
    return torch.cat([centre + 0.1 * torch.randn(n, 1, 2, 2, generator=draw) for n, centre in centres])


def test_modes_are_the_means_of_the_clusters_largest_first() -> None:
    latents = three_heaps()
    expected = torch.stack([latents[:12].mean(0), latents[12:19].mean(0), latents[19:].mean(0)])
    torch.testing.assert_close(find_modes(latents, 3, 0), expected)


def test_modes_are_a_fixed_point_of_lloyds_algorithm() -> None:
    latents = torch.randn(60, 1, 3, 3, generator=torch.Generator().manual_seed(1))
    modes = find_modes(latents, 5, 0)
    nearest = torch.cdist(latents.flatten(1), modes.flatten(1)).argmin(1)
    means = torch.stack([latents[nearest == k].mean(0) for k in range(5)])
    torch.testing.assert_close(modes, means, atol=1e-5, rtol=1e-5)
    sizes = nearest.bincount(minlength=5).tolist()
    assert sizes == sorted(sizes, reverse=True)


def test_k_means_starts_once() -> None:
    """As MGD3's code: scikit-learn's `n_init="auto"`, which is one start of k-means++. Ten starts end elsewhere."""
    latents = torch.randn(200, 1, 2, 2, generator=torch.Generator().manual_seed(5))
    X = latents.flatten(1).double().numpy()
    modes = find_modes(latents, 20, 7).flatten(1)
    once, often = (KMeans(20, n_init=n, random_state=7).fit(X).cluster_centers_ for n in ("auto", 10))
    for centres, same in ((once, True), (often, False)):
        distances = torch.cdist(torch.from_numpy(centres).float(), modes).min(1).values
        assert (distances.max().item() < 1e-4) is same


def test_as_many_modes_as_images_are_the_images() -> None:
    latents = torch.randn(6, 1, 2, 2, generator=torch.Generator().manual_seed(2))
    modes = find_modes(latents, 6, 3)
    assert torch.cdist(latents.flatten(1), modes.flatten(1)).min(1).values.max() < 1e-5


def scheduler(**options: object) -> DDPMScheduler:
    made = DDPMScheduler(1000, 1e-4, 0.02, timestep_spacing="linspace", clip_sample=False, **options)
    made.set_timesteps(50)
    return made


def test_posterior_deviation_is_the_schedulers() -> None:
    made = scheduler()
    steps = steps_of(made)
    for step, following in pairwise(steps):
        assert step.alpha_bar_after == following.alpha_bar
    eps = torch.zeros(1, 1, 1, 1)
    step = steps[3]
    variance = made._get_variance(step.timestep)
    found = posterior_deviation(Prediction(eps, eps), step)
    assert found.item() == pytest.approx(math.sqrt(variance), rel=1e-3)
    assert steps[-1].alpha_bar_after == 1.0


@pytest.mark.parametrize("v", [-1.0, -0.3, 1.0])
def test_learned_deviation_is_the_schedulers(v: float) -> None:
    made = scheduler(variance_type="learned_range")
    step = steps_of(made)[3]
    value = torch.full((1, 1, 1, 1), v)
    log_variance = made._get_variance(step.timestep, predicted_variance=value)
    found = posterior_deviation(Prediction(value, value, value), step)
    assert found.item() == pytest.approx(math.exp(0.5 * log_variance.item()), rel=1e-3)


def test_the_shift_is_the_formula() -> None:
    draw = torch.Generator().manual_seed(0)
    x_t, eps, modes = (torch.randn(2, 1, 2, 2, generator=draw) for _ in range(3))
    guided = mode_guided(lambda x, step: of_noise(eps, x, step), modes, ModesConfig(strength=0.1, stop=25))
    shift = guided(x_t, Step(30, 612, 0.3, 0.4)).shift
    for b in range(2):
        for i in range(4):
            x, e, m = (float(value[b].flatten()[i]) for value in (x_t, eps, modes))
            x0 = (x - math.sqrt(0.7) * e) / math.sqrt(0.3)
            sigma = math.sqrt((1 - 0.4) / (1 - 0.3) * (1 - 0.3 / 0.4))
            assert shift is not None
            assert float(shift[b].flatten()[i]) == pytest.approx(-(x0 - m) * 0.1 * sigma, rel=1e-4)
    assert guided(x_t, Step(25, 510, 0.45, 0.5)).shift is None


def test_samples_end_nearer_to_their_modes() -> None:
    seeds = [torch.Generator().manual_seed(k) for k in range(16)]
    noise = torch.stack([torch.randn(1, 2, 2, generator=g) for g in seeds])
    modes = torch.where(torch.arange(16).view(-1, 1, 1, 1) < 8, -1.0, 1.0).expand(-1, 1, 2, 2)

    def gaussian(x_t: torch.Tensor, step: Step) -> Prediction:
        """The exact denoiser of data from N(0, 1): x_t is N(0, 1) at all times, so eps = sqrt(1 - abar) x_t."""
        return of_noise((1 - step.alpha_bar) ** 0.5 * x_t, x_t, step)

    def distance(denoiser) -> float:
        generators = [torch.Generator().manual_seed(100 + k) for k in range(16)]
        return float((sample(denoiser, scheduler(), noise, generators) - modes).norm())

    guided = mode_guided(gaussian, modes, ModesConfig(strength=0.5, stop=10))
    assert distance(guided) < distance(gaussian)
