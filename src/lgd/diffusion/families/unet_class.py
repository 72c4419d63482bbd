"""Class-conditional U-Nets: diffusers' UNet2DModel with a table of classes, in pixels or in latents."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lgd.config import Precision, TimeFrequencies
from lgd.errors import UserError
from lgd.storage.files import read_json

from .. import diffusers_lazily as diffusers
from ..autoencoder_networks import load_part
from ..class_map import Vocabulary, pipeline_vocabulary
from .base import Conditions, Embeddings, Family, call_with_class, numbered, unet_channels


def vocabulary(folder: Path) -> Vocabulary:
    """Return the names of a pipeline's classes: those of `id2label` in model_index.json, as DiTPipeline has it.

    A table with one row more than there are labels ends with the null class. Errors: UserError for a network that
    takes no classes.
    """
    labels = read_json(folder / "model_index.json").get("id2label")
    rows = read_json(folder / "unet" / "config.json").get("num_class_embeds")
    if not isinstance(rows, int):
        raise UserError(f"{folder}: an unconditional UNet2DModel; it needs num_class_embeds to be asked for a class")
    null = has_null(labels, rows)
    return replace(pipeline_vocabulary(str(folder), rows - null, labels), has_null=null)


def has_null(labels: Mapping[str, str] | None, rows: int) -> bool:
    return bool(labels) and len(labels or {}) == rows - 1


def load(folder: Path, device: str, precision: Precision, frequencies: TimeFrequencies) -> Any:
    """Load the denoiser of a pipeline. Errors: UserError."""
    denoiser = load_part(diffusers.UNet2DModel, folder / "unet", precision)
    labels, rows = read_json(folder / "model_index.json").get("id2label"), denoiser.config.num_class_embeds
    denoiser.register_to_config(null_class=rows - 1 if has_null(labels, rows) else None)
    return denoiser.eval().requires_grad_(False).to(device)


def null(denoiser: Any, embeddings: Embeddings | None) -> int | None:
    return denoiser.config.get("null_class")


def with_classes(denoiser: Any, starts: Sequence[int | None]) -> Any:
    """Return a copy with a table of new classes, as Family.with_classes says; a missing null class is their mean."""
    old = denoiser.class_embedding.weight.detach()
    spare = old.mean(0) if null(denoiser, None) is None else old[null(denoiser, None)]
    rows = torch.stack([spare if start is None else old[start] for start in [*starts, None]])
    adapted = copy.deepcopy(denoiser).requires_grad_(True)
    adapted.class_embedding = nn.Embedding.from_pretrained(rows, freeze=False)
    adapted.register_to_config(num_class_embeds=len(rows), null_class=len(starts))
    return adapted


def placeholder(denoiser: Any, classes: int) -> Conditions:
    return Conditions(tuple(label % denoiser.config.num_class_embeds for label in range(classes)))


UNET_CLASS = Family(
    "class-conditional U-Net",
    pipelines=("DDPMPipeline", "DDIMPipeline"),
    part="unet",
    network=lambda **config: diffusers.UNet2DModel(**config),
    load=load,
    call=call_with_class,
    null=null,
    check=numbered,
    conditions=numbered,
    placeholder=placeholder,
    vocabulary=vocabulary,
    describe=unet_channels,
    with_classes=with_classes,
)
