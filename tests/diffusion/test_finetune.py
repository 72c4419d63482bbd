"""Fine-tuning: label rows, DiffFit's parameters, the learned variance, and a run with a tuned pipeline."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, DiTTransformer2DModel
from tests.diffusion.pipelines import new_pipeline, save_pipeline
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from lgd.config import Config, GeneratorConfig, with_values
from lgd.data.imageset import ImageSet
from lgd.diffusion.class_map import vocabulary
from lgd.diffusion.families.dit import with_classes
from lgd.diffusion.finetune import TABLE, for_difffit, for_tuning, merge, start_ids
from lgd.diffusion.folder import load_generator
from lgd.diffusion.latents import LatentSource
from lgd.diffusion.prediction_type import x0_and_eps
from lgd.diffusion.pretrained import load_pipeline
from lgd.diffusion.train import begin, noise_schedule, train, variance_loss
from lgd.diffusion.train_generator import GeneratorTraining, make_generator
from lgd.errors import UserError
from lgd.experiments.distill import distill


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pipeline") / "dit"
    save_pipeline(path)
    return path


def outputs(denoiser: torch.nn.Module, ids: list[int]) -> Tensor:
    x = torch.randn(len(ids), 4, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return denoiser(x, timestep=torch.full((len(ids),), 300), class_labels=torch.tensor(ids)).sample


def test_new_classes_start_where_their_old_ones_are() -> None:
    old = new_pipeline().transformer
    new = with_classes(old, [207, None, 3])
    assert new.config.num_embeds_ada_norm == 3
    torch.testing.assert_close(outputs(new, [0, 1, 2, 3]), outputs(old, [207, 1000, 3, 1000]))
    torch.nn.init.zeros_(new.proj_out_2.weight)
    assert old.proj_out_2.weight.any()  # its own copy


def test_where_the_rows_start() -> None:
    known = vocabulary("G", 4, [("cat", 0), ("dog", 1), ("crane", 2), ("crane", 3)])
    assert start_ids(["dog", "wolf", "husky", "axolotl"], known, {"wolf": "dog", "husky": 1}) == (1, 1, 1, None)
    with pytest.raises(UserError, match="class 'lion' is unknown to G"):
        start_ids(["wolf"], known, {"wolf": "lion"})
    with pytest.raises(UserError, match="is the name of 2 classes"):
        start_ids(["crane"], known, {})


def test_difffit_trains_few_parameters_and_folds_back() -> None:
    denoiser = with_classes(new_pipeline().transformer, [1, 2])
    plain = copy.deepcopy(denoiser)
    names = set(plain.state_dict())
    tuned = for_difffit(denoiser)
    torch.testing.assert_close(outputs(tuned, [0, 1]), outputs(plain, [0, 1]))
    learning = {name for name, p in tuned.named_parameters() if p.requires_grad}
    assert {name for name in learning if not name.endswith((".bias", ".scale", TABLE))} == set()
    assert len([name for name in learning if name.endswith(".scale")]) == 4  # attention and MLP of two blocks
    assert all(p.requires_grad == (name in learning) for name, p in tuned.named_parameters())
    for block in tuned.transformer_blocks:
        torch.nn.init.normal_(block.attn1.to_out[0].scale)
        torch.nn.init.normal_(block.ff.net[2].scale)
    before = outputs(tuned, [0, 1])
    assert not torch.allclose(before, outputs(plain, [0, 1]))
    merge(tuned)
    torch.testing.assert_close(outputs(tuned, [0, 1]), before)
    assert set(tuned.state_dict()) == names


def test_difffit_trains_little_of_dit_xl() -> None:
    """By the layers' sizes: biases, the scales of 2 x 28 branches, and 28 tables of ten classes and the null class."""
    with torch.device("meta"):
        denoiser = for_difffit(DiTTransformer2DModel(out_channels=8, num_embeds_ada_norm=10))
    d = 1152
    attention, mlp, modulation, timestep, table = 4 * d, 4 * d + d, 6 * d, 2 * d, 11 * d
    ends = d + 2 * d + 8 * 2 * 2  # of the patches, the last modulation and the last projection
    expected = 28 * (attention + mlp + modulation + timestep + table + 2 * d) + ends
    trained = sum(p.numel() for p in denoiser.parameters() if p.requires_grad)
    assert trained == expected
    assert 0.001 < trained / sum(p.numel() for p in denoiser.parameters()) < 0.002


def test_the_variance_loss_is_a_kl_divergence() -> None:
    """Against torch's, from the posterior q(x_{t-1} | x_t, x0) and the predicted Gaussian, in bits per value."""
    draw = torch.Generator().manual_seed(0)
    share, eps, noise, x0 = torch.randn(4, 3, 2, 4, 4, generator=draw, dtype=torch.float64)
    t = torch.tensor([1, 400, 999])
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    alpha_bars = (1 - betas).cumprod(0)
    expected = []
    for i in range(3):
        abar, previous, beta = alpha_bars[t[i]], alpha_bars[t[i] - 1], betas[t[i]]
        x_t = abar.sqrt() * x0[i] + (1 - abar).sqrt() * noise[i]
        posterior = beta * (1 - previous) / (1 - abar)
        of_x0, of_x_t = previous.sqrt() * beta / (1 - abar), (1 - beta).sqrt() * (1 - previous) / (1 - abar)
        predicted = (x_t - (1 - abar).sqrt() * eps[i]) / abar.sqrt()
        part = (share[i] + 1) / 2
        std = (0.5 * (part * beta.log() + (1 - part) * posterior.log())).exp()
        true, guess = (of_x0 * x + of_x_t * x_t for x in (x0[i], predicted))
        kl = kl_divergence(Normal(true, posterior.sqrt()), Normal(guess, std))
        expected.append(kl.mean() / torch.log(torch.tensor(2.0, dtype=torch.float64)))
    x_t = alpha_bars[t].sqrt().view(-1, 1, 1, 1) * x0 + (1 - alpha_bars[t]).sqrt().view(-1, 1, 1, 1) * noise
    x0hat, _ = x0_and_eps(eps, x_t, alpha_bars[t].view(-1, 1, 1, 1), "epsilon")
    found = variance_loss(share, x0hat, x0, alpha_bars, t)
    torch.testing.assert_close(found, torch.stack(expected))


def test_the_variance_loss_is_zero_where_diffusers_would_draw_from_the_true_posterior() -> None:
    """And else the divergence of the two Gaussians that its scheduler steps with: independent of our formulas."""
    scheduler = DDPMScheduler(variance_type="learned_range", clip_sample=False)
    fixed = DDPMScheduler(variance_type="fixed_small", clip_sample=False)
    draw = torch.Generator().manual_seed(0)
    x0, noise, eps = torch.randn(3, 1, 2, 4, 4, generator=draw)
    share = torch.rand(1, 2, 4, 4, generator=draw) * 2 - 1

    def mean_of(output: Tensor, t: int, x_t: Tensor) -> Tensor:
        """Of the step: the middle of two draws with opposite noise."""
        steps = []
        for sign in (1, -1):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(
                    "diffusers.schedulers.scheduling_ddpm.randn_tensor",
                    lambda shape, sign=sign, **_: torch.full(shape, float(sign)),
                )
                steps.append(scheduler.step(torch.cat([output, share], 1), t, x_t).prev_sample)
        return sum(steps) / 2  # type: ignore[return-value]

    for t in (1, 30, 500, 999):
        x_t = scheduler.add_noise(x0, noise, torch.tensor([t]))
        true, guess = mean_of(noise, t, x_t), mean_of(eps, t, x_t)
        posterior = fixed._get_variance(t)
        learned = scheduler._get_variance(t, predicted_variance=share).exp()
        divergence = kl_divergence(Normal(true, posterior.sqrt()), Normal(guess, learned.sqrt()))
        abar = scheduler.alphas_cumprod[t]
        x0hat, exact_x0 = (x0_and_eps(e, x_t, abar, "epsilon")[0] for e in (eps, noise))
        found = variance_loss(share, x0hat, x0, scheduler.alphas_cumprod, torch.tensor([t]))
        torch.testing.assert_close(found[0], divergence.mean() / np.log(2), rtol=2e-2, atol=1e-3)
        exact = variance_loss(torch.full_like(share, -1.0), exact_x0, x0, scheduler.alphas_cumprod, torch.tensor([t]))
        torch.testing.assert_close(exact, torch.zeros(1), rtol=0, atol=1e-3)


def test_the_variance_loss_trains_the_variance_alone_and_not_the_last_step() -> None:
    draw = torch.Generator().manual_seed(0)
    share, x0hat, x0 = torch.randn(3, 2, 1, 2, 2, generator=draw).unbind()
    share.requires_grad_()
    x0hat.requires_grad_()
    scheduler = noise_schedule(Config().generator, 1.0)
    loss = variance_loss(share, x0hat, x0, scheduler.alphas_cumprod, torch.tensor([0, 500]))
    assert loss[0] == 0
    loss.sum().backward()
    assert x0hat.grad is None
    assert share.grad is not None
    assert not share.grad[0].any()
    assert share.grad[1].all()


@pytest.mark.parametrize("tune", ["full", "difffit", "lora"])
def test_tuning_learns_the_new_classes(tune: str) -> None:
    """From classes around zero to a bright and a dark one both losses fall."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(64) % 2
    signs = (2.0 * labels - 1).view(-1, 1, 1, 1)
    old, new = (apart * signs + 0.3 * torch.randn(64, 4, 4, 4, generator=draw) for apart in (0.0, 2.0))
    config = GeneratorConfig(steps=60, batch_size=16, warmup_steps=5, learning_rate=1e-2, label_dropout=0.0)
    scheduler = noise_schedule(config, 5.0)

    def learn(denoiser: Any, latents: Tensor) -> None:
        source = LatentSource(latents[None].half().numpy(), torch.zeros(4), torch.ones(4))
        list(train(begin(denoiser, config, 64), source, labels, scheduler, config))

    def losses() -> tuple[float, float]:
        """Of the noise and of the variance, on noise that training does not draw."""
        draw = torch.Generator().manual_seed(1)
        t = torch.randint(1, 1000, (64,), generator=draw)
        eps = torch.randn(new.shape, generator=draw)
        x_t = scheduler.add_noise(new, eps, t)
        with torch.no_grad():
            prediction, share = denoiser(x_t, timestep=t, class_labels=labels).sample.chunk(2, dim=1)
        abar = scheduler.alphas_cumprod[t].view(-1, 1, 1, 1)
        x0hat, _ = x0_and_eps(prediction, x_t, abar, "epsilon")
        variance = variance_loss(share, x0hat, new, scheduler.alphas_cumprod, t)
        return F.mse_loss(prediction, eps).item(), variance.mean().item()

    source = with_classes(new_pipeline().transformer, [207, 3])
    learn(source, old)
    denoiser = with_classes(source, [0, 1])
    for_tuning(denoiser, replace(config, tune=tune))  # type: ignore[arg-type]
    before = losses()
    learn(denoiser, new)
    after = losses()
    assert after[0] < (0.7 if tune == "full" else 0.9) * before[0]
    assert after[1] < before[1]


def tuned_config(tiny: Config, folder: Path, table: Path, tune: str) -> Config:
    table.write_text('[classes]\n0 = "golden retriever"\n1 = 3\n')
    return with_values(
        tiny,
        {
            "generator.source": f"pretrained:{folder}",
            "generator.class_map": str(table),
            "generator.tune": tune,
            "generator.steps": 3,
            "stages.increments": 2,
            "stages.images_per_increment": 1,
            "evaluation.seeds": 1,
        },
    )


@pytest.mark.parametrize("tune", ["full", "difffit"])
def test_a_run_with_a_tuned_pipeline(tune: str, tiny: Config, folder: Path, tmp_path: Path) -> None:
    config = tuned_config(tiny, folder, tmp_path / "map.toml", tune)
    run = distill(config, tmp_path / "run")
    tuned = load_generator(run.root / "generator", (1, 8, 8))
    old = load_pipeline(folder)
    assert tuned.class_ids == tuple(range(10))
    assert tuned.null_condition == 10
    assert tuned.learned_variance
    assert tuned.autoencoder.std == old.autoencoder.std  # type: ignore[attr-defined]
    starts = with_classes(old.denoiser, [207, 3] + [None] * 8).state_dict()
    changed = {name for name, w in tuned.denoiser.state_dict().items() if not torch.equal(w, starts[name])}
    weights = {name for name in changed if not name.endswith((".bias", TABLE))}
    if tune == "full":
        assert any(".norm1.linear.weight" in name for name in weights)
    else:
        folded = {
            f"transformer_blocks.{i}.{layer}.weight" for i in range(2) for layer in ("attn1.to_out.0", "ff.net.2")
        }
        assert weights == folded
    assert len(list((run.root / "dataset").rglob("*.png"))) == 20


def test_a_tuning_goes_on_to_the_same_weights(tiny: Config, folder: Path, tmp_path: Path) -> None:
    config = tuned_config(tiny, folder, tmp_path / "map.toml", "difffit")
    draw = torch.Generator().manual_seed(0)
    images = ImageSet(
        torch.randint(0, 256, (20, 1, 8, 8), dtype=torch.uint8, generator=draw),
        torch.arange(20) % 10,
        tuple("0123456789"),
    )
    training = GeneratorTraining(config.generator, config.dataset, images, "cpu")
    make_generator(training, tmp_path / "whole")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            make_generator(training, tmp_path / "parts", save_every=0, watch=stop)
    make_generator(training, tmp_path / "parts")
    a, b = (load_generator(tmp_path / name).denoiser.state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_tuning_needs_a_source(tiny: Config) -> None:
    with pytest.raises(UserError, match=r"generator\.tune: 'full' needs a generator.source"):
        with_values(tiny, {"generator": replace(tiny.generator, tune="full")})
