"""Any network as a denoiser of the guidance functions: the documented example, and what does not fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor

import lgd
from lgd.diffusion.prediction_type import target
from lgd.errors import UserError
from lgd.guidance import Prediction, Step, denoiser_of, sample

MEAN = torch.tensor([0.5, -1.0]).view(1, 2, 1, 1)


def scheduler() -> Any:
    made = DDIMScheduler(clip_sample=False, timestep_spacing="trailing")
    made.set_timesteps(20)
    return made


def of_constant(predicts: str) -> Any:
    """Return a network whose data are one image, so that x0 is known: it predicts what `predicts` says, exactly."""
    alphas = scheduler().alphas_cumprod

    def network(x_t: Tensor, t: Tensor) -> Tensor:
        abar = alphas[t].view(-1, 1, 1, 1)
        x0 = MEAN.expand_as(x_t)
        return target(x0, (x_t - abar**0.5 * x0) / (1 - abar) ** 0.5, abar, predicts)

    return network


@pytest.mark.parametrize("predicts", ["epsilon", "sample", "v_prediction"])
def test_a_network_samples_what_it_predicts(predicts: str) -> None:
    noise = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    found = sample(denoiser_of(of_constant(predicts), predicts), scheduler(), noise)
    assert torch.allclose(found, MEAN.expand_as(found), atol=1e-4)


def test_guidance_of_an_own_score_raises_it() -> None:
    noise = torch.randn(4, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    config = lgd.GuidanceConfig(strength=0.5, window=(0, 19))
    plain = denoiser_of(lambda x_t, t: 0.5 * x_t)

    def brightness(x0: Tensor) -> Tensor:
        return x0.mean((1, 2, 3))

    guided = lgd.guidance.learnability_guided(plain, brightness, config)
    assert (brightness(sample(guided, scheduler(), noise)) > brightness(sample(plain, scheduler(), noise)) + 0.1).all()


STEP = Step(3, 400, 0.3)
X = torch.ones(2, 1, 4, 4)
CONFIG = lgd.GuidanceConfig(strength=0.5, deviation=0.5, window=(0, 9))
WRONG: dict[str, tuple[Any, str]] = {
    "a network of another shape": (
        denoiser_of(lambda x_t, t: x_t[:, :, :2]),
        "network: returned (2, 1, 2, 4) for x_t (2, 1, 4, 4); expected the shape of x_t",
    ),
    "a prediction of another shape": (
        lambda x_t, step: Prediction(x_t, x_t.mean(1)),
        "denoiser: eps: returned (2, 4, 4) for x_t (2, 1, 4, 4); expected the shape of x_t",
    ),
    "a tensor": (
        lambda x_t, step: x_t,
        "denoiser: returned Tensor; expected lgd.guidance.Prediction(x0, eps), which lgd.guidance.denoiser_of makes",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_denoiser_of_another_shape_is_told(case: str) -> None:
    denoiser, message = WRONG[case]
    score = lambda x0: x0.mean((1, 2, 3))  # noqa: E731
    wrapped = [
        denoiser,
        lgd.guidance.learnability_guided(denoiser, score, CONFIG),
        lgd.guidance.learnability_guided(denoiser, score, CONFIG.replace("route", "denoiser")),
        lgd.guidance.deviation_guided(denoiser, [X[:1], X[:1]], CONFIG),
        lgd.guidance.mode_guided(denoiser, X, lgd.load_config("digits").modes),
    ]
    for one in wrapped:
        with pytest.raises(UserError) as told:
            sample(one, scheduler(), X)
        assert message in str(told.value)


def test_a_score_that_is_not_one_per_sample_and_another_meaning_are_told() -> None:
    guided = lgd.guidance.learnability_guided(denoiser_of(lambda x_t, t: x_t), lambda x0: x0.mean(), CONFIG)
    with pytest.raises(UserError, match=r"score: returned \(\) for x0 \(2, 1, 4, 4\); expected \(2,\)"):
        guided(X, STEP)
    with pytest.raises(UserError, match="predicts: unknown 'noise'"):
        denoiser_of(lambda x_t, t: x_t, "noise")
