"""Diffusion transformers (DiT, Peebles and Xie, 2023): new ones, saved ones, and the family of their pipelines."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lgd.config import GeneratorConfig, Precision, TimeFrequencies
from lgd.errors import UserError
from lgd.rng import seeded_initialisation
from lgd.storage.files import read_json

from .. import diffusers_lazily as diffusers
from ..autoencoder import Shape
from ..autoencoder_networks import load_part
from ..class_map import Vocabulary, pipeline_vocabulary
from ..time_embedding import saved_frequencies, set_frequencies
from .base import Conditions, Embeddings, Family, Request, call_with_class, numbered

SIZES = {"tiny": (8, 4, 64), "small": (12, 6, 64), "base": (12, 12, 64)}
"""blocks, heads, width of a head"""


def check_patch(config: GeneratorConfig, shape: Shape) -> None:
    """Errors: UserError for latents (C, H, W) that are not square or that the patch does not divide."""
    _, height, width = shape
    if height != width or height % config.patch_size:
        what = "latents" if config.autoencoder else "images"
        raise UserError(f"generator.patch_size {config.patch_size} does not fit {what} of {width} x {height}")


def new_denoiser(config: GeneratorConfig, shape: Shape, classes: int) -> Any:
    """Return a DiT with fresh weights for latents of `shape` (C, H, W). Errors: as `check_patch`."""
    check_patch(config, shape)
    channels, height, _ = shape
    blocks, heads, head_width = SIZES.get(config.size, (config.blocks, config.heads, config.head_width))
    with seeded_initialisation(config.seed, "denoiser"):
        denoiser = diffusers.DiTTransformer2DModel(
            num_attention_heads=heads,
            attention_head_dim=head_width,
            in_channels=channels,
            out_channels=channels,
            num_layers=blocks,
            # torch's tanh form is 4 times slower on the CPU; size custom keeps it, so that its networks stay the same.
            activation_fn="gelu-approximate" if config.size == "custom" else "gelu",
            sample_size=height,
            patch_size=config.patch_size,
            num_embeds_ada_norm=classes,
        )
    return without_own_dropout(denoiser)


def with_plain_attention(denoiser: Any) -> Any:
    """Replace torch's fused attention by matrix products: in bfloat16 on the CPU backward is two to five times faster.

    For training; without gradients the fused form is faster (benchmarks/generator-speed.md).
    """
    from diffusers.models.attention_processor import Attention, AttnProcessor

    for module in denoiser.modules():
        if isinstance(module, Attention):
            module.set_processor(AttnProcessor())
    return denoiser


def without_own_dropout(denoiser: Any) -> Any:
    """Switch off diffusers' label dropout, which is random in every block; training drops labels once per image."""
    for block in denoiser.transformer_blocks:
        block.norm1.emb.class_embedder.dropout_prob = 0
    return denoiser


def load(folder: Path, device: str, precision: Precision, frequencies: TimeFrequencies) -> Any:
    """Load the denoiser of a pipeline, or of a generator of ours, with its frequencies. Errors: UserError."""
    kind, _ = saved_frequencies(folder, frequencies)
    denoiser = without_own_dropout(load_part(diffusers.DiTTransformer2DModel, folder / "transformer", precision))
    if precision == "bfloat16" and device == "cpu":
        for block in denoiser.transformer_blocks:
            # The forms differ by 5e-4, a tenth of bfloat16's rounding; torch's tanh form is 4 times slower on the CPU.
            if getattr(block.ff.net[0], "approximate", "none") == "tanh":
                block.ff.net[0].approximate = "none"
    return set_frequencies(denoiser.eval().requires_grad_(False).to(device), kind)


def null(denoiser: Any, embeddings: Embeddings | None) -> int:
    return int(denoiser.config.num_embeds_ada_norm)


def with_classes(denoiser: Any, starts: Sequence[int | None]) -> Any:
    """Return a copy with a table of new classes in every block, as Family.with_classes says."""
    rows = torch.tensor([null(denoiser, None) if start is None else start for start in [*starts, None]])
    adapted = copy.deepcopy(denoiser).requires_grad_(True)
    for block in adapted.transformer_blocks:
        embedder = block.norm1.emb.class_embedder
        embedder.embedding_table = nn.Embedding.from_pretrained(embedder.embedding_table.weight[rows], freeze=False)
        embedder.num_classes = len(starts)
    adapted.register_to_config(num_embeds_ada_norm=len(starts))
    return adapted


def check(request: Request) -> None:
    saved_frequencies(request.folder, request.config.time_frequencies)
    numbered(request)


def vocabulary(folder: Path) -> Vocabulary:
    """Return the names of a pipeline's classes. Errors: UserError."""
    index, config = read_json(folder / "model_index.json"), read_json(folder / "transformer" / "config.json")
    size = config.get("num_embeds_ada_norm")
    if not isinstance(size, int):
        raise UserError(f"{folder}: not a class-conditional DiTPipeline")
    return pipeline_vocabulary(str(folder), size, index.get("id2label"))


def placeholder(denoiser: Any, classes: int) -> Conditions:
    return Conditions(tuple(label % null(denoiser, None) for label in range(classes)))


def describe(config: Mapping[str, Any]) -> str:
    width = config["num_attention_heads"] * config["attention_head_dim"]
    tokens = (config["sample_size"] // config["patch_size"]) ** 2
    return f"{config['num_layers']} blocks of width {width}, patch {config['patch_size']}, {tokens} tokens"


DIT = Family(
    "class-conditional diffusion transformer (DiT)",
    pipelines=("DiTPipeline",),
    part="transformer",
    network=lambda **config: without_own_dropout(diffusers.DiTTransformer2DModel(**config)),
    load=load,
    call=call_with_class,
    null=null,
    check=check,
    conditions=numbered,
    placeholder=placeholder,
    vocabulary=vocabulary,
    describe=describe,
    parts=("vae/config.json",),
    embeds_by_frequencies=True,
    tunes=("full", "lora", "difffit"),
    with_classes=with_classes,
)
