"""One anchored chain against the same chain written out, image by image: schedulers, guidance, families, latents."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from PIL import Image
from tests.diffusion.pipelines import new_vae, save_pipeline
from tests.diffusion.unets import save_class_unet
from tests.distillation.test_method_registry import TINY, grown
from torch import Tensor
from torch.nn import functional as F

from lgd.config import Config, with_values
from lgd.data.splits import cached_splits
from lgd.diffusion.sampler import steps_of
from lgd.diffusion.types import Step
from lgd.distillation.layout import Run
from lgd.distillation.methods import METHODS, with_method
from lgd.distillation.recipe import assets_of
from lgd.distillation.resources import Resources
from lgd.distillation.stages import grow
from lgd.distillation.store import Row, read_manifest
from lgd.execution.local import Local
from lgd.experiments.prepare import prepare
from lgd.experiments.resolve import resolve
from lgd.storage.files import load_tensors

Predict = Callable[[Tensor, Step], tuple[Tensor, Tensor]]
"""Returns x0 and eps, each (1, C, H, W), at x_t."""
PHOTOS = ("dog", "grey_cat")


def chain(predict: Predict, z: Tensor, seed: int, scheduler: Any, t0: int) -> Tensor:
    """Sample from the latent z (C, H, W), by the formulas of DDPM, of DDIM and of DPM-Solver++ (2M)."""
    stream, steps = torch.Generator().manual_seed(seed), [s for s in steps_of(scheduler) if s.index <= t0]
    clip = scheduler.config.get("clip_sample_range", 1.0) if scheduler.config.get("clip_sample") else math.inf
    a = steps[0].alpha_bar
    x = a**0.5 * z[None] + (1 - a) ** 0.5 * torch.randn(z.shape, generator=stream)[None]
    history: list[tuple[float, Tensor]] = []
    for step in steps:
        a, after = step.alpha_bar, step.alpha_bar_after
        x0, eps = predict(x, step)
        if type(scheduler).__name__ == "DDPMScheduler":
            beta = 1 - a / after
            mean = after**0.5 * beta / (1 - a) * x0.clamp(-clip, clip)
            mean = mean + (a / after) ** 0.5 * (1 - after) / (1 - a) * x
            x = mean
            if step.index:
                variance = (1 - after) / (1 - a) * beta
                x = mean + variance**0.5 * torch.randn(z.shape, generator=stream)[None]
        elif type(scheduler).__name__ == "DDIMScheduler":
            x = after**0.5 * x0.clamp(-clip, clip) + (1 - after) ** 0.5 * eps
        else:
            history.append((math.log(a / (1 - a)) / 2, x0))
            if not step.index:
                return x0
            level = math.log(after / (1 - after)) / 2
            h = level - history[-1][0]
            slope = torch.zeros_like(x0)
            if len(history) > 1:  # the first step of the chain has no step before it
                (before, older), (now, newer) = history[-2:]
                slope = (newer - older) / (now - before) * h / 2
            x = ((1 - after) / (1 - a)) ** 0.5 * x - after**0.5 * math.expm1(-h) * (x0 + slope)
    return x


def kept(run: Run, increment: int) -> list[tuple[Row, Tensor]]:
    """Return the rows of an increment of one unit with their stored latents."""
    rows = read_manifest(run.increment(increment))
    latents = load_tensors(run.group(increment, 0).with_suffix(".safetensors"))["latents"]
    slots = len(rows) // len({row.label for row in rows})
    order = sorted(rows, key=lambda row: (row.slot, row.label))
    assert slots * len({row.label for row in rows}) == len(latents)
    return list(zip(order, latents, strict=True))


@pytest.fixture(scope="module")
def config() -> Config:
    values = {
        "sampling.steps": 10,
        "guidance.window": (2, 9),
        "guidance.every": 2,
        "guidance.deviation": 0.0,
        "guidance.strength": 0.4,
        "stages.anchor": "herding",
        "stages.anchor_step": 7,
        "stages.classes_per_unit": 10,
    }
    return with_values(Config(), {**TINY, **values})


@pytest.fixture(scope="module")
def assets(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("assets")
    prepare(assets_of(config, folder, "cpu"), [METHODS["lgd"]], Local(1, folder))
    return folder


def guided(resources: Resources, label: int) -> Predict:
    """Classifier-free and learnability guidance (route x0) of the pixels of one image, written out."""
    generator, guidance, y = resources.generator, resources.config.guidance, torch.tensor([label])
    scale = resources.config.sampling.classifier_free_scale

    def predict(x: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        s, n = step.alpha_bar**0.5, (1 - step.alpha_bar) ** 0.5

        def noise(condition: int) -> Tensor:
            with torch.no_grad():
                ids = torch.tensor([condition])
                return generator.denoiser(x, timestep=torch.tensor([step.timestep]), class_labels=ids).sample

        eps = noise(10) + scale * (noise(label) - noise(10))
        low, high = guidance.window
        if step.index in range(high, low - 1, -guidance.every):
            x0 = ((x - n * eps) / s).requires_grad_()
            image = (x0 + 1) / 2
            own = torch.stack([F.cross_entropy(learner(image), y) for learner in resources.learners]).mean()
            score = own - guidance.omega * F.cross_entropy(resources.reference(image), y)
            (g,) = torch.autograd.grad(score, x0)
            eps = eps - guidance.every * guidance.strength * n * eps.norm() * g / g.norm()
        return (x - n * eps) / s, eps

    return predict


@pytest.mark.parametrize("scheduler", ["ddpm", "ddim", "dpm++"])
def test_a_guided_chain_is_its_formula(scheduler: str, config: Config, assets: Path, tmp_path: Path) -> None:
    config = with_method(with_values(config, {"sampling.scheduler": scheduler}), "lgd")
    run = grown(config, assets, tmp_path)
    experiment = resolve(config)
    resources = Resources(experiment.growth(run, assets_of(config, assets, "cpu")), 2, range(10))
    train = cached_splits(config.dataset).train
    for row, latent in kept(run, 2)[:5]:
        best = row.candidates[row.chosen]
        assert best.seed is not None
        z = train.pixels(torch.tensor([best.real]))[0] / 127.5 - 1
        schedule = resources.generator.schedule(config.sampling)
        found = chain(guided(resources, row.label), z, best.seed, schedule, 7)
        torch.testing.assert_close(found[0], latent, rtol=0, atol=2e-3)
        assert (latent - z).abs().mean() > 0.01


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 8 x 8 photographs."""
    root, draw = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for name, ground in zip(PHOTOS, (60, 180), strict=True):
        for k in range(12):
            path = root / name / f"{k}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(draw.integers(ground - 50, ground + 50, (8, 8, 3), dtype=np.uint8)).save(path)
    return root


def autoencoder(folder: Path) -> dict[str, object]:
    """A new DiT of latents of 4 x 4 x 4."""
    new_vae().save_pretrained(folder)
    return {"generator.autoencoder": str(folder)}


def class_unet(folder: Path) -> dict[str, object]:
    save_class_unet(folder, 4, PHOTOS, latents=True)
    return {"generator.source": f"pretrained:{folder}"}


def flow(folder: Path) -> dict[str, object]:
    save_pipeline(folder)
    FlowMatchEulerDiscreteScheduler(shift=3.0).save_pretrained(folder / "scheduler")
    (folder.parent / "map.toml").write_text("[classes]\ndog = 207\ngrey_cat = 0\n")
    return {"generator.source": f"pretrained:{folder}", "generator.class_map": str(folder.parent / "map.toml")}


@pytest.mark.parametrize("scheduler", ["ddpm", "dpm++"])
@pytest.mark.parametrize("kind", [autoencoder, class_unet, flow])
def test_every_family_starts_from_the_encoded_image(
    kind: Callable[[Path], dict[str, object]], scheduler: str, config: Config, photos: Path, tmp_path: Path
) -> None:
    """Of each class: the encoded anchor, noised, and the unguided chain; the run resumes to the same bytes."""
    values = {"dataset.source": f"folder:{photos}", "sampling.scheduler": scheduler, "stages.increments": 1}
    config = with_values(config, {**values, **kind(tmp_path / "generator")})
    config = with_method(with_values(config, {"sampling.classifier_free_scale": 2.0}), "dit")
    folder = assets_of(config, tmp_path / "assets", "cpu")
    prepare(folder, [METHODS["dit"]], Local(1, tmp_path / "assets"))
    experiment, run = resolve(config), Run(tmp_path / "run")
    growth = experiment.growth(run, folder)

    def make() -> bytes:
        with Local(1, run.root) as engine:
            grow(growth, engine)
        return (run.increment(1) / "manifest.jsonl").read_bytes()

    before = make()
    resources = Resources(growth, 1, range(2))
    generator, train = resources.generator, experiment.splits.train
    assert generator.latent_shape == (4, 4, 4)
    for row, latent in kept(run, 1):
        (only,) = row.candidates
        assert only.seed is not None
        assert only.real is not None
        assert train.labels[only.real] == row.label
        z = generator.autoencoder.encode(train.pixels(torch.tensor([only.real])) / 255)[0]

        def predict(x: Tensor, step: Step, label: int = row.label) -> tuple[Tensor, Tensor]:
            """Classifier-free guidance of the noise, by the conditions of one image."""
            own, free = (
                generator.predict(x, step, torch.tensor([condition]))
                for condition in (generator.class_ids[label], generator.null_condition or 0)
            )
            eps = free.eps + 2.0 * (own.eps - free.eps)
            return (x - (1 - step.alpha_bar) ** 0.5 * eps) / step.alpha_bar**0.5, eps

        with torch.no_grad():
            found = chain(predict, z, only.seed, generator.schedule(config.sampling), 7)
        torch.testing.assert_close(found[0], latent, rtol=1e-3, atol=2e-3)
    shutil.rmtree(run.increment(1))
    shutil.rmtree(folder.real_folder)
    assert make() == before
