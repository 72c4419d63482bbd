"""Autoencoder networks of three kinds: TAEF2, and diffusers' AutoencoderKL and AutoencoderTiny."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lgd.config import Precision
from lgd.errors import UserError, first_line
from lgd.storage.files import load_tensors, read_json

from . import diffusers_lazily as diffusers
from .taef2 import CHANNELS, TAEF2

TAEF2_FILES = ("encoder.safetensors", "decoder.safetensors")
IMPORTED = ("DiTTransformer2DModel", "Transformer2DModel", "AutoencoderKL")
"""classes of diffusers' that `lgd generator import` reads pickles of"""
DIFFUSERS = ("AutoencoderKL", "AutoencoderTiny")


def network_encode(network: Any, images: Tensor) -> Tensor:
    """The network's own latents, in float32, of RGB images in [0, 1]."""
    x = to_network(images, network)
    if isinstance(network, TAEF2):
        z = network.encoder(x)
    elif isinstance(network, diffusers.AutoencoderTiny):
        z = network.encode(x * 2 - 1).latents
    else:
        z = network.encode(x * 2 - 1).latent_dist.mode()
    return z.float()


def network_decode(network: Any, latents: Tensor) -> Tensor:
    """RGB images in float32, about in [0, 1], of the network's own latents."""
    z = to_network(latents, network)
    if isinstance(network, TAEF2):
        return network.decoder(z).float()
    return network.decode(z).sample.float() / 2 + 0.5


def to_network(x: Tensor, network: Any) -> Tensor:
    """In the network's precision, and in the memory layout in which convolutions are fastest."""
    return x.to(next(network.parameters()).dtype, memory_format=torch.channels_last)


def channels(network: Any) -> int:
    return CHANNELS if isinstance(network, TAEF2) else int(network.config.latent_channels)


def factor(network: Any) -> int:
    if isinstance(network, TAEF2):
        return 8
    kl = isinstance(network, diffusers.AutoencoderKL)
    return 2 ** (len(network.config.block_out_channels if kl else network.config.num_encoder_blocks) - 1)


def load_network(folder: Path, precision: Precision = "float32") -> Any:
    """Load TAEF2 from its two weight files, or what diffusers saved. Errors: UserError naming the file."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of an autoencoder")
    network: Any
    if (folder / "config.json").is_file():
        name = read_json(folder / "config.json").get("_class_name")
        if name not in DIFFUSERS:
            raise UserError(f"{folder / 'config.json'}: autoencoder {name!r}; use one of {', '.join(DIFFUSERS)}")
        network = load_part(getattr(diffusers, name), folder, precision)
        if network.config.in_channels != 3 or network.config.out_channels != 3:
            raise UserError(f"{folder}: this autoencoder is not for RGB images")
    else:
        if not any((folder / file).exists() for file in TAEF2_FILES):
            raise UserError(f"{folder}: no autoencoder: neither config.json of diffusers nor {TAEF2_FILES[0]} of taef2")
        network = TAEF2()
        for half, file in zip((network.encoder, network.decoder), TAEF2_FILES, strict=True):
            try:
                half.load_state_dict(load_tensors(folder / file))
            except RuntimeError as error:
                reason = str(error).splitlines()[1].strip()
                raise UserError(f"{folder / file}: not the weights of taef2: {reason}") from None
    return in_precision(network.eval().requires_grad_(False), precision)


def in_precision(network: Any, precision: Precision) -> Any:
    """The same network, cast in place. diffusers' own `to` would warn of modules to spare, of which there are none."""
    cast: Any = nn.Module.to
    return cast(network, getattr(torch, precision), memory_format=torch.channels_last)


def load_part(kind: Any, folder: Path, precision: Precision = "float32") -> Any:
    """A model saved by diffusers, from safetensors alone.

    Errors: UserError naming the folder, and a weight that it lacks: diffusers would only warn and draw it at random.
    """
    check_files(folder)
    with reading_network(folder, "diffusers.configuration_utils"):  # AutoencoderTiny warns of a field of its own
        network, info = kind.from_pretrained(
            folder,
            use_safetensors=True,
            local_files_only=True,
            low_cpu_mem_usage=False,
            output_loading_info=True,
            torch_dtype=getattr(torch, precision),
            variant=variant_of(folder),
        )
    return complete(network, info["missing_keys"], folder)


@contextmanager
def reading_network(folder: Path, silent: str) -> Iterator[None]:
    """Read what a library saved, without warnings of its logger `silent`. Errors: UserError naming `folder`."""
    settings = logging.getLogger(silent)
    told = settings.level
    settings.setLevel(logging.ERROR)
    try:
        yield
    except Exception as error:  # of many kinds, for a bad file
        raise UserError(f"{folder}: cannot be loaded: {first_line(error)}") from None
    finally:
        settings.setLevel(told)


def complete(network: Any, missing: Iterable[str], folder: Path) -> Any:
    """Return the network. Errors: UserError when its file lacked a weight, which libraries draw at random."""
    lacking = sorted(set(missing) & {name for name, _ in network.named_parameters()})
    if lacking:
        name = type(network).__name__
        raise UserError(f"{folder}: weights of {name} are missing ({len(lacking)}): first {lacking[0]}")
    return network


def variant_of(folder: Path) -> str | None:
    """Return "fp16" where weights are there in float16 files alone, which diffusers has to be asked for."""
    names = [path.name for path in folder.glob("*.safetensors")]
    return "fp16" if names and all(".fp16" in name for name in names) else None


def check_files(folder: Path) -> None:
    """Errors: UserError where `folder` lacks what `load_part` reads, or offers a pickle in its place."""
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: not a model saved by diffusers (no config.json)")
    if any(folder.glob("*.safetensors")):
        return
    if pickles := sorted([*folder.glob("*.bin"), *folder.glob("*.pt")]):
        imported = read_json(folder / "config.json").get("_class_name") in IMPORTED
        advice = (
            "`lgd generator import` makes safetensors of it without running anything in it"
            if imported
            else "if you trust it, load the model with its library and save_pretrained writes safetensors"
        )
        raise UserError(f"{pickles[0]}: a pickle, which is not read here; {advice}")
    raise UserError(f"{folder}: no weights as safetensors; `lgd generator import` makes them of published pickles")


def network_files(folder: Path) -> list[Path]:
    if (folder / "config.json").is_file():
        return [folder / "config.json", *sorted(folder.glob("*.safetensors*"))]
    return [folder / name for name in TAEF2_FILES]
