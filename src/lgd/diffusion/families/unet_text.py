"""Text-to-image U-Nets in the layout of diffusers' StableDiffusionPipeline: SD 1.x and 2.x, and SDXL."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lgd.config import Precision, TimeFrequencies
from lgd.storage.files import read_json

from .. import diffusers_lazily as diffusers
from ..autoencoder_networks import load_part
from ..text import check_prompts, embed, prompts_of
from .base import Conditions, Embeddings, Family, Request, unet_channels

TOKENS = 77
"""of a prompt, in all of CLIP's text encoders"""
FACTOR = 8
"""pixels of an image per value of a latent, along a side"""


def load(folder: Path, device: str, precision: Precision, frequencies: TimeFrequencies) -> Any:
    """Load the denoiser of a pipeline. Errors: UserError."""
    return load_part(diffusers.UNet2DConditionModel, folder / "unet", precision).eval().requires_grad_(False).to(device)


def call(denoiser: Any, x_t: Tensor, t: Tensor, conditions: Tensor, embeddings: Embeddings | None) -> Tensor:
    """Call the denoiser with the rows of the embeddings; SDXL is also told the image's size, uncropped."""
    assert embeddings is not None
    rows = {name: tensor.to(x_t)[conditions] for name, tensor in embeddings.tensors.items()}
    added = None
    if "pooled" in rows:
        side = FACTOR * x_t.shape[-1]
        sizes = torch.tensor([side, side, 0, 0, side, side], device=x_t.device, dtype=x_t.dtype)
        added = {"text_embeds": rows["pooled"], "time_ids": sizes.expand(len(x_t), -1)}
    return denoiser(x_t, t, encoder_hidden_states=rows["hidden"], added_cond_kwargs=added).sample


def null(denoiser: Any, embeddings: Embeddings | None) -> int | None:
    return embeddings.null if embeddings else None


def check(request: Request) -> None:
    prompts = prompts_of(request.config.prompts, request.class_names)
    check_prompts(request.folder, [*(prompt for own in prompts for prompt in own), request.config.prompts.negative])


def conditions(request: Request) -> Conditions:
    """Embed the prompts of every class and the negative prompt. Errors: UserError."""
    prompts = prompts_of(request.config.prompts, request.class_names)
    negative = request.config.prompts.negative
    tensors = embed(request.folder, [*(prompt for own in prompts for prompt in own), negative], request.kept)
    if not negative and read_json(request.folder / "model_index.json").get("force_zeros_for_empty_prompt"):  # of SDXL
        tensors = {name: torch.cat([rows[:-1], torch.zeros_like(rows[-1:])]) for name, rows in tensors.items()}
    return of_counts(tuple(map(len, prompts)), tensors)


def of_counts(counts: tuple[int, ...], tensors: Mapping[str, Tensor]) -> Conditions:
    first = tuple(sum(counts[:label]) for label in range(len(counts)))
    return Conditions(first, Embeddings(tensors, counts))


def placeholder(denoiser: Any, classes: int) -> Conditions:
    config, device = denoiser.config, denoiser.device
    tensors = {"hidden": torch.zeros(classes + 1, TOKENS, config.cross_attention_dim, device=device)}
    if config.addition_embed_type == "text_time":
        width = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        tensors["pooled"] = torch.zeros(classes + 1, width, device=device)
    return of_counts((1,) * classes, tensors)


UNET_TEXT = Family(
    "text-to-image U-Net (Stable Diffusion)",
    pipelines=("StableDiffusionPipeline",),
    part="unet",
    network=lambda **config: diffusers.UNet2DConditionModel(**config),
    load=load,
    call=call,
    null=null,
    check=check,
    conditions=conditions,
    placeholder=placeholder,
    vocabulary=None,
    describe=unet_channels,
    parts=("vae/config.json", "text_encoder/config.json"),
)
UNET_TEXT_XL = replace(
    UNET_TEXT,
    summary="text-to-image U-Net (SDXL)",
    pipelines=("StableDiffusionXLPipeline",),
    parts=(*UNET_TEXT.parts, "text_encoder_2/config.json"),
)
