"""Stable Diffusion's autoencoder, from the names it was published under to those of diffusers' AutoencoderKL.

Published are diffusers' names of today, its older names of the attention layers, and CompVis' own names.
"""

import inspect
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lgd.errors import UserError, first_line

from . import diffusers_lazily as diffusers
from .weight_files import Weights, check_fit, plain

SD: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 256,
    "scaling_factor": 0.18215,
}
"""of Stable Diffusion's autoencoder, for a weight file without a config.json"""
VAE_RECORD = "autoencoder.json"
"""the file that says the variant and where it is from"""
OLDER = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
COMPVIS = {
    r"\.down\.(\d+)\.block\.": r".down_blocks.\1.resnets.",
    r"\.down\.(\d+)\.downsample\.": r".down_blocks.\1.downsamplers.0.",
    r"\.up\.(\d+)\.block\.": r".up_blocks.\1.resnets.",
    r"\.up\.(\d+)\.upsample\.": r".up_blocks.\1.upsamplers.0.",
    r"\.mid\.block_1\.": ".mid_block.resnets.0.",
    r"\.mid\.block_2\.": ".mid_block.resnets.1.",
    r"\.mid\.attn_1\.norm\.": ".mid_block.attentions.0.group_norm.",
    r"\.mid\.attn_1\.([qkv])\.": r".mid_block.attentions.0.to_\1.",
    r"\.mid\.attn_1\.proj_out\.": ".mid_block.attentions.0.to_out.0.",
    r"\.nin_shortcut\.": ".conv_shortcut.",
    r"(coder)\.norm_out\.": r"\1.conv_norm_out.",
}
"""patterns in CompVis' names; the blocks of its decoder are counted from the end"""
VARIANTS = {
    "a1d993488569e928462932c8c38a0760b874d166399b14414135bd9c42df5815": "ft-mse",
    "1b4889b6b1d4ce7ae320a02dedaeff1780ad77d415ea0d744b476155c6377ddc": "ft-mse",
    "735e4c3a447a3255760d7f86845f09f937809baa529c17370d83e4c3758f3c75": "ft-mse",
    "c6a580b13a5bc05a5e16e4dbb80608ff2ec251a162311590c1f34c013d7f3dab": "ft-mse",
    "32db726da04f06c1b6b14c0043ce115cc87a501482945c5add89a40d838fcb46": "ft-ema",
    "0b204ad0cae549e0a7e298d803d57e36363760dec71c63109c1da3e1147ec520": "ft-ema",
}
"""by SHA-256: the files of stabilityai/sd-vae-ft-mse and -ft-ema, and of their -original repositories"""


def is_vae(tensors: dict[str, Tensor]) -> bool:
    return "encoder.conv_in.weight" in tensors


def from_vae_names(weights: Weights, config: dict[str, Any] | None) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the arguments and the weights of AutoencoderKL.

    config: of the config.json beside them; None for a file alone, which must be Stable Diffusion's. Errors: UserError
    naming what is missing, unknown or of another shape.
    """
    arguments = SD if config is None else known_arguments(config)
    blocks, layers = len(arguments.get("block_out_channels", ())), arguments.get("layers_per_block", 1)
    if not isinstance(layers, int) or not 0 < blocks * layers <= len(weights.tensors):
        raise UserError(f"{weights.place}: config.json has more layers than there are weights")
    tensors = renamed(weights.tensors, blocks)
    try:
        with torch.device("meta"):
            network: Any = diffusers.AutoencoderKL(**arguments)
    except Exception as error:  # of diffusers, in many kinds
        raise UserError(f"{weights.place}: not an AutoencoderKL: {first_line(error)}") from None
    shapes = {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}
    for name, tensor in tensors.items():
        if name in shapes and tensor.shape[2:] == (1, 1) and len(shapes[name]) == 2:  # a 1 x 1 convolution there
            tensors[name] = tensor[:, :, 0, 0]
    check_fit(
        weights.place, "Stable Diffusion's autoencoder" if config is None else "this AutoencoderKL", tensors, shapes
    )
    return arguments, {name: plain(tensors[name]) for name in shapes}


def known_arguments(config: dict[str, Any]) -> dict[str, Any]:
    known = inspect.signature(diffusers.AutoencoderKL.__init__).parameters.keys() - {"self"}
    return {name: tuple(v) if isinstance(v, list) else v for name, v in config.items() if name in known}


def renamed(tensors: dict[str, Tensor], blocks: int) -> dict[str, Tensor]:
    """Return the tensors under diffusers' names; what it does not know keeps its own."""
    found = {}
    for name, tensor in tensors.items():
        if name.startswith("loss."):  # the discriminator of its training
            continue
        new = name
        if match := re.match(r"decoder\.up\.(\d+)\.", name):
            new = f"decoder.up.{blocks - 1 - int(match[1])}.{name[match.end() :]}"
        for pattern, there in COMPVIS.items():
            new = re.sub(pattern, there, new)
        head, _, rest = new.partition(".attentions.0.")
        layer, _, kind = rest.rpartition(".")
        found[f"{head}.attentions.0.{OLDER[layer]}.{kind}" if layer in OLDER else new] = tensor
    return found


def variant_of(given: str, config: dict[str, Any] | None, weights: Weights) -> str:
    """Return ft-mse or ft-ema, by the files' SHA-256 or by name, else "unknown".

    given: as the user named it. The two differ in the decoder's weights alone.
    """
    by_hash = {VARIANTS[digest] for digest in weights.digests.values() if digest in VARIANTS}
    names = " ".join([*Path(given).parts[-2:], str((config or {}).get("_name_or_path", ""))])
    by_name = {variant for variant in ("ft-mse", "ft-ema") if variant in names}
    return next(iter(by_hash or (by_name if len(by_name) == 1 else ())), "unknown")
