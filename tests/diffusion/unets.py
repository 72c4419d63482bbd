"""Tiny random U-Nets in the layout of diffusers' pipelines: text-to-image ones and class-conditional ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    UNet2DModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from lgd.rng import seeded_initialisation

LETTERS = "abcdefghijklmnopqrstuvwxyz"
LONGEST = 24
"""tokens of a prompt"""
WIDTH = 8


def new_tokenizer() -> CLIPTokenizer:
    """One token per letter, and one for a letter that ends a word."""
    vocabulary = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    numbers = {token: number for number, token in enumerate(vocabulary)}
    return CLIPTokenizer(vocab=numbers, merges=[], model_max_length=LONGEST)


def new_encoder(kind: Any) -> Any:
    config = CLIPTextConfig(
        vocab_size=2 * len(LETTERS) + 2,
        hidden_size=WIDTH,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=LONGEST,
        projection_dim=WIDTH,
        bos_token_id=2 * len(LETTERS),
        eos_token_id=2 * len(LETTERS) + 1,
        pad_token_id=2 * len(LETTERS) + 1,
    )
    return randomised(kind(config))


def new_unet(**more: Any) -> UNet2DConditionModel:
    """Of latents of 4 x 4 x 4."""
    return randomised(
        UNet2DConditionModel(
            sample_size=4,
            block_out_channels=(8, 16),
            layers_per_block=1,
            norm_num_groups=4,
            attention_head_dim=2,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            **{"cross_attention_dim": WIDTH, **more},
        )
    )


def new_vae(blocks: int = 2) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(4,) * blocks,
        down_block_types=("DownEncoderBlock2D",) * blocks,
        up_block_types=("UpDecoderBlock2D",) * blocks,
        norm_num_groups=2,
        latent_channels=4,
        sample_size=4 * 2 ** (blocks - 1),
    ).eval()


def randomised(network: Any) -> Any:
    """With weights that are large enough for an input to matter."""
    for name, parameter in network.named_parameters():
        if "norm" not in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return network.eval()


def sd_schedule(kind: str) -> DDIMScheduler:
    """Stable Diffusion's own."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=kind,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="trailing",
    )


def save_stable_diffusion(folder: Path, kind: str = "epsilon") -> StableDiffusionPipeline:
    """Images of 8 x 8."""
    with seeded_initialisation("stable diffusion"):
        pipeline = StableDiffusionPipeline(
            vae=new_vae(),
            text_encoder=new_encoder(CLIPTextModel),
            tokenizer=new_tokenizer(),
            unet=new_unet(),
            scheduler=sd_schedule(kind),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipeline.save_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def save_sdxl(folder: Path) -> StableDiffusionXLPipeline:
    """Images of 32 x 32, as its U-Net is told eight times the size of the latents."""
    with seeded_initialisation("sdxl"):
        pipeline = StableDiffusionXLPipeline(
            vae=new_vae(4),
            text_encoder=new_encoder(CLIPTextModel),
            text_encoder_2=new_encoder(CLIPTextModelWithProjection),
            tokenizer=new_tokenizer(),
            tokenizer_2=new_tokenizer(),
            unet=new_unet(
                cross_attention_dim=2 * WIDTH,
                addition_embed_type="text_time",
                addition_time_embed_dim=4,
                projection_class_embeddings_input_dim=WIDTH + 6 * 4,
            ),
            scheduler=sd_schedule("epsilon"),
            add_watermarker=False,
        )
    pipeline.save_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def save_class_unet(folder: Path, channels: int, labels: tuple[str, ...] = (), latents: bool = False) -> UNet2DModel:
    """A table of three rows, of which the last is the null class where there are two labels."""
    with seeded_initialisation("class unet"):
        unet = randomised(
            UNet2DModel(
                sample_size=4 if latents else 8,
                in_channels=channels,
                out_channels=channels,
                block_out_channels=(8, 16),
                layers_per_block=1,
                norm_num_groups=4,
                down_block_types=("DownBlock2D", "AttnDownBlock2D"),
                up_block_types=("AttnUpBlock2D", "UpBlock2D"),
                num_class_embeds=3,
            )
        )
        vae = new_vae()
    DDPMPipeline(unet, DDIMScheduler(clip_sample=not latents)).save_pretrained(folder)
    if latents:
        vae.save_pretrained(folder / "vae")
    if labels:
        path = folder / "model_index.json"
        index = json.loads(path.read_text())
        path.write_text(json.dumps({**index, "id2label": dict(zip("0123", labels, strict=False))}))
    return unet
