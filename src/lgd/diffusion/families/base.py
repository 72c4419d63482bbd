"""The types of generator families, and of the conditions that their denoisers are given."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from lgd.config import GeneratorConfig, Precision, TimeFrequencies

from ..class_map import Vocabulary, map_classes, read_table


@dataclass(frozen=True)
class Embeddings:
    """Embedded prompts, and how many of them each class has."""

    tensors: Mapping[str, Tensor]
    """by name, (P + 1, ...): the prompts of class 0, of class 1, ..., and last the negative prompt"""
    counts: tuple[int, ...]
    """prompts per class"""

    @property
    def null(self) -> int:
        return sum(self.counts)

    def to(self, device: torch.device) -> Self:
        return type(self)({name: tensor.to(device) for name, tensor in self.tensors.items()}, self.counts)


@dataclass(frozen=True)
class Conditions:
    """The conditions of a set's classes."""

    class_ids: tuple[int, ...]
    """of each class: the number that its denoiser knows it by, or the row of its first prompt"""
    embeddings: Embeddings | None = None
    """where conditions are prompts"""


@dataclass(frozen=True)
class Request:
    """The classes of an image set that need conditions."""

    config: GeneratorConfig
    folder: Path
    """of the generator"""
    known: Vocabulary | None
    """names of the classes that the denoiser knows; None: conditions are prompts"""
    class_names: Sequence[str]
    kept: Path | None = None
    """folder in which embedded prompts are kept; None: they are made anew"""


@dataclass(frozen=True)
class Family:
    """A kind of generator in the layout of a diffusers pipeline: how its denoiser is loaded, called and conditioned."""

    summary: str
    """one line about the family"""
    pipelines: tuple[str, ...]
    """`_class_name` of model_index.json of the pipelines that belong to it"""
    part: str
    """folder of the denoiser"""
    network: Callable[..., Any]
    """makes an untrained denoiser of the sizes in a config.json"""
    load: Callable[[Path, str, Precision, TimeFrequencies], Any]
    """loads the denoiser of a pipeline's folder onto a device. Errors: UserError"""
    call: Callable[[Any, Tensor, Tensor, Tensor, Embeddings | None], Tensor]
    """calls the denoiser: takes (denoiser, x_t (B, C, H, W), t (B,), conditions (B,), embeddings)"""
    null: Callable[[Any, Embeddings | None], int | None]
    """returns the condition that stands for "any class", or None: takes (denoiser, embeddings)"""
    check: Callable[[Request], object]
    """finds out without loading weights whether every class has a condition. Errors: UserError"""
    conditions: Callable[[Request], Conditions]
    """makes the conditions of the classes. Errors: UserError"""
    placeholder: Callable[[Any, int], Conditions]
    """makes conditions of nameless classes, to time a denoiser with: takes (denoiser, number of classes)"""
    vocabulary: Callable[[Path], Vocabulary] | None
    """reads the names of the classes that a pipeline knows; None: conditions are prompts. Errors: UserError"""
    describe: Callable[[Mapping[str, Any]], str]
    """describes the denoiser in one line, from its config.json"""
    parts: tuple[str, ...] = ()
    """further files that a pipeline must have"""
    embeds_by_frequencies: bool = False
    """whether its timestep embedding has one of two sets of frequencies (time_embedding.py)"""
    velocity: bool = False
    """whether the denoiser predicts the velocity of a flow"""
    tunes: tuple[str, ...] = ("full", "lora")
    """values of generator.tune that it can be trained with"""
    with_classes: Callable[[Any, Sequence[int | None]], Any] | None = None
    """returns a copy of a denoiser that learns, with a table of new classes and the null class: each row starts from
    that of an old class, or for None from the null class's; None: conditions are prompts"""


def numbered(request: Request) -> Conditions:
    """Return the number that the denoiser knows each class by. Errors: UserError naming classes without one."""
    assert request.known is not None
    table = read_table(request.config.class_map, request.class_names)
    return Conditions(map_classes(request.class_names, request.known, table))


def call_with_class(denoiser: Any, x_t: Tensor, t: Tensor, conditions: Tensor, embeddings: Embeddings | None) -> Tensor:
    """Call a denoiser of diffusers that is conditioned by the number of a class."""
    return denoiser(x_t, timestep=t, class_labels=conditions).sample


def unet_channels(config: Mapping[str, Any]) -> str:
    return f"U-Net of {', '.join(map(str, config['block_out_channels']))} channels"
