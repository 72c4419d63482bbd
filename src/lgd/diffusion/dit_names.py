"""A DiT's weights from the names of DiT's own code (facebookresearch/DiT) to those of diffusers' class.

Both have the same layers. DiT's own code holds one embedder of timestep and class, which diffusers' class has in every
block, and queries, keys and values in one matrix.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt, prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lgd.errors import UserError, first_line

from . import diffusers_lazily as diffusers
from .weight_files import WHOLE, Weights, check_fit, plain

HEADS = {1152: 16, 1024: 16, 768: 12, 384: 6}
"""by width: DiT-XL, L, B and S"""
ENDS = {
    "pos_embed.proj": "x_embedder.proj",
    "proj_out_1": "final_layer.adaLN_modulation.1",
    "proj_out_2": "final_layer.linear",
}
SHARED = {
    "norm1.emb.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "norm1.emb.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "norm1.emb.class_embedder.embedding_table": "y_embedder.embedding_table",
}
"""of a block there, of the network here"""
INSIDE = {
    "norm1.linear": "adaLN_modulation.1",
    "attn1.to_q": "attn.qkv",
    "attn1.to_k": "attn.qkv",
    "attn1.to_v": "attn.qkv",
    "attn1.to_out.0": "attn.proj",
    "ff.net.0.proj": "mlp.fc1",
    "ff.net.2": "mlp.fc2",
}
"""of a block"""
GAMMAS = {"attn.gamma1": "attn.qkv", "attn.gamma2": "attn.proj", "gamma1": "attn.proj", "gamma2": "mlp.fc2"}
"""of a block: factors that Minimax Diffusion's tuning learns (as DiffFit), and the layer whose outputs they multiply"""
QKV = ("attn1.to_q", "attn1.to_k", "attn1.to_v")


@dataclass(frozen=True)
class Sizes:
    """The size of a DiT, from the shapes of its weights."""

    width: int
    depth: int
    """blocks"""
    patch: int
    inputs: int
    """channels of a latent"""
    outputs: int
    """channels of the output: twice those of a latent where the variance is learned"""
    classes: int

    def config(self, heads: int, side: int, norm_eps: float = 1e-6, activation: str = "gelu-approximate") -> Any:
        """Return the arguments of diffusers' class, for latents of side x side; by default as in DiT's own code."""
        return {
            "num_attention_heads": heads,
            "attention_head_dim": self.width // heads,
            "in_channels": self.inputs,
            "out_channels": self.outputs,
            "num_layers": self.depth,
            "sample_size": side,
            "patch_size": self.patch,
            "num_embeds_ada_norm": self.classes,
            "norm_eps": norm_eps,
            "activation_fn": activation,
        }


def is_own(tensors: Mapping[str, Tensor]) -> bool:
    return "x_embedder.proj.weight" in tensors


def is_diffusers(tensors: Mapping[str, Tensor]) -> bool:
    return "pos_embed.proj.weight" in tensors


def sizes_of(weights: Weights) -> Sizes:
    """Read the sizes from the shapes of weights in either naming. Errors: UserError naming the weight that is odd."""
    own = is_own(weights.tensors)
    patches = weights.tensors["x_embedder.proj.weight" if own else "pos_embed.proj.weight"]
    table = "y_embedder.embedding_table.weight" if own else f"transformer_blocks.0.{LABELS}.weight"
    last = "final_layer.linear.bias" if own else "proj_out_2.bias"
    for name in (table, last, *(["pos_embed"] if own else [])):
        if name not in weights.tensors:
            raise UserError(f"{weights.place}: lacks {name}, so it is no class-conditional DiT; {WHOLE}")
    if weights.tensors[table].dim() != 2 or len(weights.tensors[table]) < 2:
        raise UserError(f"{weights.place}: {table} is no table of classes and a null class; {WHOLE}")
    if patches.dim() != 4 or patches.shape[2] != patches.shape[3] or patches.shape[0] % 4 or not patches.numel():
        raise UserError(f"{weights.place}: patches embedded by a tensor of shape {tuple(patches.shape)}; {WHOLE}")
    width, inputs, patch, _ = patches.shape
    outputs, rest = divmod(weights.tensors[last].numel(), patch * patch)
    if rest or outputs not in (inputs, 2 * inputs):
        raise UserError(f"{weights.place}: {last} has {weights.tensors[last].numel()} values; {WHOLE}")
    pattern = re.compile(r"blocks\.(\d+)\." if own else r"transformer_blocks\.(\d+)\.")
    depth = len({match[1] for name in weights.tensors if (match := pattern.match(name))})
    return Sizes(width, depth, patch, inputs, outputs, len(weights.tensors[table]) - 1)


LABELS = "norm1.emb.class_embedder.embedding_table"


def shapes_of(place: Path, config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight of diffusers' class, by name. Errors: UserError for impossible sizes."""
    try:
        with torch.device("meta"):
            denoiser: Any = diffusers.DiTTransformer2DModel(**config)
    except (ValueError, TypeError, RuntimeError, ZeroDivisionError) as error:
        raise UserError(f"{place}: no DiT has these sizes: {first_line(error)}") from None
    return {name: tuple(parameter.shape) for name, parameter in denoiser.named_parameters()}


def own_name(name: str) -> str:
    """Return the name in DiT's own code of a weight of diffusers' class."""
    layer, _, kind = name.rpartition(".")
    if match := re.fullmatch(r"transformer_blocks\.(\d+)\.(.+)", layer):
        layer = SHARED.get(match[2]) or f"blocks.{match[1]}.{INSIDE[match[2]]}"
    else:
        layer = ENDS[layer]
    return f"{layer}.{kind}"


def from_own_names(weights: Weights, heads: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the arguments and the weights of diffusers' class for a checkpoint of DiT's own code.

    heads: 0 for those of DiT-XL, L, B or S, by the width. Errors: UserError naming what is missing, unknown or of
    another shape.
    """
    sizes, tensors = sizes_of(weights), with_gammas_folded(weights.tensors)
    heads = heads or HEADS.get(sizes.width, 0)
    if not heads or sizes.width % heads:
        known = ", ".join(map(str, HEADS))
        raise UserError(f"{weights.place}: of width {sizes.width}, none of DiT's ({known}); give the heads (--heads)")
    tokens = prod(tensors["pos_embed"].shape[:-1])
    config = sizes.config(heads, isqrt(tokens) * sizes.patch)
    shapes = shapes_of(weights.place, config)
    own: dict[str, tuple[int, ...]] = {"pos_embed": (1, isqrt(tokens) ** 2, sizes.width)}
    for name, shape in shapes.items():
        own[own_name(name)] = (3 * shape[0], *shape[1:]) if any(f".{part}." in name for part in QKV) else shape
    check_fit(weights.place, "DiT", tensors, own)
    check_positions(weights.place, tensors["pos_embed"])
    return config, {name: plain(taken(tensors, name)) for name in shapes}


def with_gammas_folded(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the same network without the learned factors of a tuned one: its layers have them in their weights."""
    found = dict(tensors)
    for name, factors in tensors.items():
        block, layer = re.match(r"(blocks\.\d+\.)?(.*)", name, re.DOTALL).groups()  # type: ignore[union-attr]
        parts = [f"{block}{GAMMAS[layer]}.{kind}" for kind in ("weight", "bias")] if block and layer in GAMMAS else []
        if parts and all(part in found and found[part].shape[:1] == factors.shape for part in parts):
            weight, bias = parts
            found[weight], found[bias] = found[weight] * factors[:, None], found[bias] * factors
            del found[name]
    return found


def taken(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    """Return the part of DiT's own tensor that is the weight `name` of diffusers' class."""
    tensor = tensors[own_name(name)]
    part = next((i for i, layer in enumerate(QKV) if f".{layer}." in name), None)
    return tensor if part is None else tensor.chunk(3)[part]


def check_positions(place: Path, found: Tensor) -> None:
    """Errors: UserError where the position embedding (1, N, D) is not the fixed one, which diffusers computes."""
    side = isqrt(found.shape[1])
    from diffusers.models.embeddings import get_2d_sincos_pos_embed

    fixed = get_2d_sincos_pos_embed(found.shape[2], side, base_size=side, output_type="pt").float()
    if (distance := (found[0].float() - fixed).abs().max().item()) > 1e-4:
        raise UserError(f"{place}: its position embedding is {distance:.2g} off from DiT's sines and cosines; {WHOLE}")


def from_diffusers_names(
    weights: Weights, config: dict[str, Any], like_dit: bool
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The same for weights in diffusers' names, with the config.json beside them.

    like_dit: the weights are of DiT's own code, whose layer norms add 1e-6 to the variance, where a converted config
    says 1e-5. Errors: as `from_own_names`; also UserError for a config that does not fit the weights.
    """
    sizes = sizes_of(weights)
    try:
        heads, side = int(config["num_attention_heads"]), int(config["sample_size"])
        width = heads * int(config["attention_head_dim"])
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"{weights.place}: config.json needs num_attention_heads, attention_head_dim and sample_size"
        ) from None
    if width != sizes.width or min(heads, side) < 1 or side > 2**16 or side % sizes.patch:
        raise UserError(f"{weights.place}: config.json says width {width}, latents {side}; the weights {sizes}")
    eps = 1e-6 if like_dit else float(config.get("norm_eps", 1e-5))
    ours = sizes.config(heads, side, eps, str(config.get("activation_fn", "gelu-approximate")))
    shapes = shapes_of(weights.place, ours)
    tensors = {name: tensor for name, tensor in weights.tensors.items() if name != "pos_embed.pos_embed"}
    check_fit(weights.place, "diffusers' DiT", tensors, shapes)
    if (positions := weights.tensors.get("pos_embed.pos_embed")) is not None and positions.dim() == 3:
        check_positions(weights.place, positions)
    return ours, {name: plain(tensors[name]) for name in shapes}
