"""Read weights that others published: safetensors, or pickles of torch with nothing but tensors in them.

Pickles are read by torch's own restricted reader (`weights_only=True`), which builds tensors and plain containers and
calls nothing that a file names. One class is allowed beside them: argparse.Namespace, which the training scripts of DiT
and Minimax save their arguments in. It holds values and runs nothing; it is not used here.
"""

import argparse
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from torch import Tensor

from lgd.errors import UserError
from lgd.storage.files import is_pickle, load_tensors, sha256

PARTS = ("ema", "model", "state_dict")
"""of a training checkpoint: the averaged weights are those that DiT's own code samples with"""
PREFIXES = ("module.", "_orig_mod.")
"""that distributed and compiled training put before every name"""
INSTEAD = "save the network's state_dict alone, or safetensors, and import that"


@dataclass(frozen=True)
class Weights:
    """Tensors by name, and where they are from."""

    place: Path
    tensors: dict[str, Tensor]
    part: str
    """of the checkpoint: ema, model, state_dict; empty: the file holds nothing else"""
    digests: dict[str, str]
    """SHA-256 of each file"""


def weights_in(place: Path) -> Weights:
    """Read a weight file, or the weight files that diffusers saved in a folder. Errors: UserError naming the file."""
    files = weight_files(place) if place.is_dir() else [place]
    tensors: dict[str, Tensor] = {}
    part = ""
    for path in files:
        found, part = read_weights(path)
        tensors |= found
    return Weights(place, tensors, part, {path.name: sha256(path) for path in files})


def weight_files(folder: Path) -> list[Path]:
    """Return the file, or the shards, of a model that diffusers saved; safetensors first. Errors: UserError."""
    for suffix in ("safetensors", "bin"):
        whole = folder / f"diffusion_pytorch_model.{suffix}"
        if files := [whole] if whole.is_file() else sorted(folder.glob(f"diffusion_pytorch_model-*-of-*.{suffix}")):
            return files
    raise UserError(f"{folder}: no weights: it lacks diffusion_pytorch_model.safetensors or .bin; name a file in it")


def weight_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the weights in a folder by name, from the headers of safetensors. Errors: UserError."""
    from safetensors import SafetensorError, safe_open

    shapes: dict[str, tuple[int, ...]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, "pt") as file:
                shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise UserError(f"{path}: corrupt, not safetensors ({error})") from None
    return shapes


def read_weights(path: Path) -> tuple[dict[str, Tensor], str]:
    """Read one file: tensors by name, and the part of a training checkpoint that they are.

    Errors: UserError naming a file that is missing, damaged or no pickle of tensors, or a value that is no tensor.
    """
    if not path.is_file():
        raise UserError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    value: Any = unpickled(path) if is_pickle(path) or is_zipfile(path) else load_tensors(path)
    part = ""
    if isinstance(value, Mapping):
        part = next((name for name in PARTS if isinstance(value.get(name), Mapping)), "")
        value = value[part] if part else value
    if not isinstance(value, Mapping) or not value:
        raise UserError(f"{path}: holds no weights by name, but {type(value).__name__}; {INSTEAD}")
    for name, tensor in value.items():
        check_tensor(path, name, tensor)
    return without_prefixes(value), part


def unpickled(path: Path) -> Any:
    """Read a pickle of torch, never running what it names. Errors: UserError naming the file and the object."""
    allowed = torch.serialization.safe_globals([argparse.Namespace])
    with allowed, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of protocols: what cannot be read is an error below
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
        except Exception as error:  # a damaged or hostile file raises many kinds
            # torch wraps the reason in advice to read the file without its restrictions.
            text = str(error).partition("WeightsUnpickler error: ")[2] or str(error)
            if found := re.search(r"(?:GLOBAL|function|class) <?(?:class )?'?([\w.]+)", text):
                raise UserError(
                    f"{path}: holds objects beyond tensors ({found[1]}), which could run code when read; {INSTEAD}"
                ) from None
            reason = text.strip().splitlines()[0] if text.strip() else type(error).__name__
            reason = "a TorchScript program" if "TorchScript" in text else reason
            raise UserError(f"{path}: cannot be read as weights: {reason}; {INSTEAD}") from None


def check_tensor(path: Path, name: object, tensor: object) -> None:
    """Errors: UserError for what is no finite tensor of floating-point numbers with all its values in the file."""
    if not isinstance(name, str):
        raise UserError(f"{path}: {name!r:.100} is no name of a weight; {INSTEAD}")
    if not isinstance(tensor, Tensor):
        raise UserError(f"{path}: {name!r:.100} is no tensor but {type(tensor).__name__}; {INSTEAD}")
    if tensor.layout != torch.strided or not tensor.is_floating_point() or tensor.is_meta:
        raise UserError(f"{path}: {name!r:.100} holds {tensor.dtype}, not floating-point numbers; {INSTEAD}")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise UserError(f"{path}: {name!r:.100} claims to be {tuple(tensor.shape)}, for which the file is too small")
    if not torch.isfinite(tensor).all():
        raise UserError(f"{path}: {name!r:.100} holds NaN or infinity; the file is damaged, or training diverged")


def plain(tensor: Tensor) -> Tensor:
    """Return the values in float32 in memory of their own."""
    return tensor.to(torch.float32).clone(memory_format=torch.contiguous_format)


def without_prefixes(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors by their names in the network alone."""
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            return without_prefixes({name.removeprefix(prefix): tensor for name, tensor in tensors.items()})
    return dict(tensors)


def check_fit(place: Path, network: str, tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Errors: UserError for the first tensor that is missing, unknown or of another shape in `network`."""
    if missing := sorted(shapes.keys() - tensors.keys()):
        raise UserError(f"{place}: weights of {network} are missing ({len(missing)}): first {missing[0]}; {WHOLE}")
    if unknown := sorted(tensors.keys() - shapes.keys()):
        raise UserError(f"{place}: names are unknown to {network} ({len(unknown)}): first {unknown[0]:.100}; {WHOLE}")
    for name, shape in shapes.items():
        if tuple(tensors[name].shape) != shape:
            raise UserError(f"{place}: {name} is of shape {tuple(tensors[name].shape)}, {network} has {shape}; {WHOLE}")


WHOLE = "only whole checkpoints of this very network can be imported"
