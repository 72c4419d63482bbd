"""NaN and infinity stop a run within one step; tiny gradients do not underflow; a zero gradient guides nowhere."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite

import pytest
import torch
from torch import Tensor

from lgd.classifiers.train import train_classifier
from lgd.config import ClassifierConfig, Config, GuidanceConfig, TrainingConfig
from lgd.data.imageset import ImageSet
from lgd.data.splits import cached_splits
from lgd.diffusion.families.dit import new_denoiser
from lgd.diffusion.latents import PixelSource
from lgd.diffusion.train import begin, noise_schedule, train
from lgd.diffusion.types import Prediction, Step
from lgd.errors import NonFiniteError
from lgd.guidance.deviation import deviation_guided
from lgd.guidance.learnability import learnability_guided
from lgd.guidance.vectors import along_noise, along_sample, unit
from lgd.rng import generator
from tests.denoisers import of_noise

HERE = Step(20, 400, 0.3)


def few_images(n: int = 8) -> ImageSet:
    images = torch.randint(0, 256, (n, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    return ImageSet(images, torch.arange(n) % 2, ("a", "b"))


@pytest.mark.parametrize("poisoned", range(8))
def test_a_nan_loss_is_reported_in_its_own_step(poisoned: int) -> None:
    """Trains on one image per step, one of them with a NaN label: training stops at its step."""
    labels = torch.zeros(8, 2)
    labels[poisoned, 0] = float("nan")
    config = ClassifierConfig(width=4, depth=1, training=TrainingConfig(epochs=2, batch_size=1, temperature=1.0))
    step = torch.randperm(8, generator=generator(0, "training")).tolist().index(poisoned) + 1
    with pytest.raises(NonFiniteError, match=rf"^loss nan at step {step}$"):
        train_classifier(few_images(), config, 0, teacher=labels)


def test_weights_that_explode_in_the_last_step_are_found() -> None:
    """The loss of that step was still finite."""
    training = TrainingConfig(epochs=1, batch_size=8, optimizer="sgd", learning_rate=1e10, weight_decay=1e38)
    with pytest.raises(NonFiniteError, match=r"^weights that are not finite after step 1$"):
        train_classifier(few_images(), ClassifierConfig(width=4, depth=1, training=training), 0)


def test_generator_training_stops_within_a_step(tiny: Config) -> None:
    """The first step makes the weights NaN, so the second must stop."""
    config = replace(tiny.generator, learning_rate=1e30, warmup_steps=0, steps=20)
    images = cached_splits(tiny.dataset).train
    state = begin(new_denoiser(config, images.shape, 10), config, len(images))
    steps = train(state, PixelSource(images), images.labels, noise_schedule(config, 1.0), config)
    assert isfinite(next(steps).loss)
    with pytest.raises(NonFiniteError, match=r"^generator training: .* step 1$"):
        next(steps)


@pytest.mark.parametrize("route", ["x0", "denoiser"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_nan_gradient_is_reported(route: str, value: float) -> None:
    """The gradient of one sample of a batch is NaN."""

    def score(x0: Tensor) -> Tensor:
        weights = torch.ones(len(x0))
        weights[1] = value
        return x0.flatten(1).sum(1) * weights

    guided = learnability_guided(lambda x, step: of_noise(x, x, step), score, GuidanceConfig(route=route))  # type: ignore[arg-type]
    with pytest.raises(NonFiniteError, match=r"^guidance: NaN or infinite gradient at step index 20 \(t = 400\)$"):
        guided(torch.ones(3, 1, 2, 2), HERE)


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [(torch.bfloat16, 1e-37), (torch.bfloat16, 1e-30), (torch.bfloat16, 1e30), (torch.float16, 1e-6)],
)
def test_the_direction_of_a_tiny_gradient_survives_few_bits(dtype: torch.dtype, scale: float) -> None:
    """Squares of the entries underflow or overflow in the type itself, and for the extremes in float32."""
    g = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tiny = (g * scale).to(dtype)
    exact = tiny.double() / tiny.double().flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    torch.testing.assert_close(unit(tiny).double(), exact, rtol=2e-2, atol=1e-4)
    prediction = of_noise(torch.ones_like(tiny), tiny, HERE)
    for moved in (along_noise(prediction, unit(tiny), 0.3, HERE).eps, along_sample(prediction, tiny, 15.0, HERE).shift):
        assert moved is not None
        assert torch.isfinite(moved).all()
        assert moved.dtype == dtype
        assert not torch.equal(moved, torch.zeros_like(moved))


@pytest.mark.parametrize("space", ["noise", "sample"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_gradient_is_an_unguided_step(space: str, dtype: torch.dtype) -> None:
    """Holds for a constant score, and for a latent of zero length."""
    config = GuidanceConfig(space=space)  # type: ignore[arg-type]
    x = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0)).to(dtype)

    def inner(x_t: Tensor, step: Step) -> Prediction:
        return of_noise(x_t * 0.5, x_t, step)

    flat = learnability_guided(inner, lambda x0: (x0 * 0).flatten(1).sum(1), config)(x, HERE)
    nowhere = deviation_guided(inner, [torch.zeros(1, 1, 4, 4, dtype=dtype)] * 2, config)(x, HERE)
    origin = deviation_guided(inner, [torch.ones(1, 1, 4, 4, dtype=dtype)] * 2, config)(torch.zeros_like(x), HERE)
    for prediction, expected in ((flat, x * 0.5), (nowhere, x * 0.5), (origin, torch.zeros_like(x))):
        torch.testing.assert_close(prediction.eps, expected)
        assert prediction.shift is None or torch.isfinite(prediction.shift).all()
