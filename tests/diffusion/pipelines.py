"""Tiny random stand-ins for DiT-XL/2: the same classes and files, saved by diffusers itself."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, DiTPipeline, DiTTransformer2DModel

from lgd.rng import seeded_initialisation

LABELS = {"0": "tench, Tinca tinca", "134": "crane", "517": "crane", "207": "golden retriever", "999": "toilet tissue"}


def new_vae(latent_channels: int = 4) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(4, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=2,
        latent_channels=latent_channels,
        sample_size=8,
    )


def new_pipeline(learned_variance: bool = True) -> DiTPipeline:
    """1000 classes, latents of 4 x 4 x 4, images of 8 x 8."""
    with seeded_initialisation("pipeline"):
        transformer = DiTTransformer2DModel(
            num_attention_heads=2,
            attention_head_dim=8,
            in_channels=4,
            out_channels=8 if learned_variance else 4,
            num_layers=2,
            sample_size=4,
        )
        for parameter in transformer.parameters():  # diffusers starts some of them at zero
            torch.nn.init.normal_(parameter, std=0.1)
        vae = new_vae()
    return DiTPipeline(transformer.eval(), vae.eval(), DDIMScheduler(clip_sample=False))


def save_pipeline(folder: Path, learned_variance: bool = True) -> DiTPipeline:
    """With the labels where the published DiT-XL/2 has them, and the frequencies of diffusers' class on record."""
    pipeline = new_pipeline(learned_variance)
    pipeline.save_pretrained(folder)
    (folder / "generator.json").write_text('{"time_frequencies": "diffusers"}')
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "id2label": LABELS}))
    return pipeline
