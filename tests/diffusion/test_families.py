"""Families beside the DiT: the same samples as diffusers' pipelines, prompts, null classes, and flows."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from tests.diffusion.unets import save_class_unet, save_sdxl, save_stable_diffusion
from torch import Tensor

from lgd.config import GeneratorConfig, PromptConfig, SamplingConfig
from lgd.diffusion.describe import describe
from lgd.diffusion.folder import check_null, open_generator
from lgd.diffusion.generator import Generator
from lgd.diffusion.sampler import sample
from lgd.errors import UserError
from lgd.guidance.classifier_free import classifier_free
from lgd.rng import noise

NAMES = ("grey_cat", "dog")
SEEDS = (5, 6)


def ours(generator: Generator, config: SamplingConfig) -> Tensor:
    """Images of both classes, (2, C, H, W)."""
    g = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    conditions = generator.conditions_of(torch.tensor([0, 1]), SEEDS)
    denoiser = classifier_free(generator, conditions, config.classifier_free_scale, config.guided_channels)
    latents = sample(denoiser, generator.schedule(config), noise(g, generator.latent_shape), g)
    return generator.autoencoder.decode(latents)


def theirs(pipeline: Any, generator: Generator, config: SamplingConfig, **more: Any) -> np.ndarray:
    """What a pipeline makes of the same noise with its own prediction type."""
    g = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    kind = pipeline.scheduler.config.prediction_type
    fresh = generator.schedule(config)
    pipeline.scheduler = type(fresh).from_config(fresh.config, prediction_type=kind)
    images = pipeline(
        ["a photo of a grey cat", "a photo of a dog"],
        latents=noise(g, generator.latent_shape),
        num_inference_steps=config.steps,
        guidance_scale=config.classifier_free_scale,
        output_type="np",
        **more,
    ).images
    return np.moveaxis(images, 3, 1)


@pytest.mark.parametrize("scale", [1.0, 7.5])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("scheduler", ["ddim", "dpm++"])
def test_unguided_samples_equal_stable_diffusions(tmp_path: Path, kind: str, scheduler: str, scale: float) -> None:
    pipeline = save_stable_diffusion(tmp_path / "sd", kind)
    config = GeneratorConfig(source=f"pretrained:{tmp_path / 'sd'}", prompts=PromptConfig(negative="blur"))
    generator = open_generator(config, tmp_path, NAMES, (3, 8, 8))
    sampling = SamplingConfig(scheduler, 10, classifier_free_scale=scale)  # type: ignore[arg-type]
    expected = theirs(pipeline, generator, sampling, negative_prompt=["blur", "blur"])
    assert expected.std() > 0.05
    assert np.abs(expected[0] - expected[1]).max() > 0.05
    np.testing.assert_allclose(ours(generator, sampling).numpy(), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("negative", ["", "blur"])
def test_unguided_samples_equal_sdxls(tmp_path: Path, negative: str) -> None:
    """Two encoders, pooled embeddings, sizes, and zeros in place of an empty negative prompt."""
    pipeline = save_sdxl(tmp_path / "sdxl")
    config = GeneratorConfig(source=f"pretrained:{tmp_path / 'sdxl'}", prompts=PromptConfig(negative=negative))
    generator = open_generator(config, tmp_path, NAMES, (3, 32, 32))
    sampling = SamplingConfig("ddim", 10, classifier_free_scale=5.0)
    expected = theirs(pipeline, generator, sampling, negative_prompt=[negative] * 2 if negative else None)
    assert np.abs(expected[0] - expected[1]).max() > 0.01
    np.testing.assert_allclose(ours(generator, sampling).numpy(), expected, rtol=0, atol=2e-5)


def test_an_image_chooses_its_prompt_by_its_own_seed(tmp_path: Path) -> None:
    save_stable_diffusion(tmp_path / "sd")
    (tmp_path / "p.toml").write_text('[prompts]\ngrey_cat = ["a cat", "a grey cat", "cats"]\ndog = "a dog"\n')
    prompts = PromptConfig(table=str(tmp_path / "p.toml"))
    config = GeneratorConfig(source=f"pretrained:{tmp_path / 'sd'}", prompts=prompts)
    generator = open_generator(config, tmp_path, NAMES, (3, 8, 8))
    labels, seeds = torch.tensor([0, 1] * 40), list(range(80))
    together = generator.conditions_of(labels, seeds)
    assert set(together[::2].tolist()) == {0, 1, 2}
    assert set(together[1::2].tolist()) == {3}
    assert generator.null_condition == 4
    alone = [generator.conditions_of(labels[i : i + 1], [seeds[i]]) for i in range(80)]
    assert torch.cat(alone).tolist() == together.tolist()


def test_embeddings_are_made_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_stable_diffusion(tmp_path / "sd")
    config = GeneratorConfig(source=f"pretrained:{tmp_path / 'sd'}")
    first = open_generator(config, tmp_path / "kept", NAMES, (3, 8, 8))
    shutil.rmtree(tmp_path / "sd" / "tokenizer")
    monkeypatch.setattr("lgd.diffusion.text.encode", None)
    again = open_generator(config, tmp_path / "kept", NAMES, (3, 8, 8))
    assert first.embeddings is not None
    assert again.embeddings is not None
    assert torch.equal(first.embeddings.tensors["hidden"], again.embeddings.tensors["hidden"])
    with pytest.raises(UserError, match="no tokenizer"):  # of other classes none are kept
        open_generator(config, tmp_path / "kept", ("cat", "dog"), (3, 8, 8))


def test_float16_files_are_read_in_the_wanted_precision(tmp_path: Path) -> None:
    save_stable_diffusion(tmp_path / "sd").to(torch.float16).save_pretrained(tmp_path / "half", variant="fp16")
    whole, half = (
        open_generator(GeneratorConfig(source=f"pretrained:{tmp_path / name}"), tmp_path / f"k{name}", NAMES, (3, 8, 8))
        for name in ("sd", "half")
    )
    assert half.denoiser.dtype == torch.float32
    sampling = SamplingConfig("ddim", 4, classifier_free_scale=2.0)
    torch.testing.assert_close(ours(half, sampling), ours(whole, sampling), rtol=0, atol=0.05)
    assert not torch.equal(ours(half, sampling), ours(whole, sampling))


@pytest.mark.parametrize("latents", [False, True])
def test_a_class_unet_is_asked_for_its_classes(tmp_path: Path, latents: bool) -> None:
    """Against DDIM on mixed outputs, written out."""
    unet = save_class_unet(tmp_path / "unet", 4 if latents else 1, ("cat", "dog"), latents)
    shape = (3, 8, 8) if latents else (1, 8, 8)
    source = f"pretrained:{tmp_path / 'unet'}"
    generator = open_generator(GeneratorConfig(source=source), tmp_path, ("dog", "cat"), shape)
    assert (generator.class_ids, generator.null_condition) == ((1, 0), 2)
    check_null(source, 3.0)
    images = ours(generator, SamplingConfig("ddim", 10, classifier_free_scale=3.0))
    scheduler = DDIMScheduler(clip_sample=not latents, timestep_spacing="trailing")
    scheduler.set_timesteps(10)
    x = noise([torch.Generator().manual_seed(seed) for seed in SEEDS], generator.latent_shape)
    for t in scheduler.timesteps:
        with torch.no_grad():
            own, free = unet(torch.cat([x, x]), t, class_labels=torch.tensor([1, 0, 2, 2])).sample.chunk(2)
        x = scheduler.step(free + 3 * (own - free), t, x).prev_sample
    torch.testing.assert_close(images, generator.autoencoder.decode(x), rtol=0, atol=1e-5)
    assert (images[0] - images[1]).abs().max() > 0.01


def test_a_class_unet_without_a_null_class_is_not_guided(tmp_path: Path) -> None:
    save_class_unet(tmp_path / "unet", 1, ("cat", "dog", "eel"))
    source = f"pretrained:{tmp_path / 'unet'}"
    generator = open_generator(GeneratorConfig(source=source), tmp_path, ("eel", "cat"), (1, 8, 8))
    assert (generator.class_ids, generator.null_condition) == ((2, 0), None)
    check_null(source, 1.0)
    assert torch.isfinite(ours(generator, SamplingConfig("ddim", 4, classifier_free_scale=1.0))).all()
    with pytest.raises(UserError, match="has no null class, which classifier-free guidance needs"):
        check_null(source, 1.5)


def test_show_tells_the_family(tmp_path: Path) -> None:
    save_stable_diffusion(tmp_path / "sd", "v_prediction")
    (tmp_path / "sd" / "README.md").write_text("---\nlicense: creativeml-openrail-m\n---\n")
    save_class_unet(tmp_path / "unet", 1, ("cat", "dog"))
    text = describe(f"pretrained:{tmp_path / 'sd'}")
    for part in (
        "Stable Diffusion",
        "any, by prompts",
        "U-Net of 8, 16 channels",
        "predicts v",
        "creativeml-openrail-m",
    ):
        assert part in text
    assert "2, numbered from 0" in describe(f"pretrained:{tmp_path / 'unet'}")
