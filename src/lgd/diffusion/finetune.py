"""Train a generator that is there already on other classes: in full, or with few parameters as DiffFit does."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .class_map import Vocabulary, resolve

TABLE = "class_embedder.embedding_table.weight"
"""end of the names of the label tables, of which diffusers has one in every block"""


def start_ids(class_names: Sequence[str], known: Vocabulary, table: Mapping[str, int | str]) -> tuple[int | None, ...]:
    """The old class from which each new label row starts: by the table, else by its own name, else None.

    Two classes may start from one. Errors: UserError for an entry of the table that the source does not have, and for
    a name that several of its classes bear.
    """
    found = tuple(resolve(table.get(name, name), known) for name in class_names)
    unknown = [
        str(table[name]) for name, number in zip(class_names, found, strict=True) if number is None and name in table
    ]
    if unknown:
        known.unknown(unknown)
    return found


def with_classes(denoiser: Any, starts: Sequence[int | None]) -> Any:
    """A copy that learns, with a table of new classes: each row that of its old class, or for None the null class's."""
    null = denoiser.config.num_embeds_ada_norm
    rows = torch.tensor([null if start is None else start for start in starts] + [null])
    adapted = copy.deepcopy(denoiser).requires_grad_(True)
    for block in adapted.transformer_blocks:
        embedder = block.norm1.emb.class_embedder
        embedder.embedding_table = nn.Embedding.from_pretrained(embedder.embedding_table.weight[rows], freeze=False)
        embedder.num_classes = len(starts)
    adapted.register_to_config(num_embeds_ada_norm=len(starts))
    return adapted


class Scaled(nn.Module):
    """A linear layer whose outputs are multiplied by learned factors, which start at one."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear
        self.scale = nn.Parameter(torch.ones_like(linear.bias))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * self.scale

    def folded(self) -> nn.Linear:
        """The same function as one linear layer."""
        with torch.no_grad():
            self.linear.weight.mul_(self.scale[:, None])
            self.linear.bias.mul_(self.scale)
        return self.linear


def for_difffit(denoiser: Any) -> Any:
    """Leave to training what DiffFit does (Xie et al., ICCV 2023): biases, label tables, and a scale on each branch.

    Affine norms would belong to it; a DiT has none. The scales stand behind the output layer of attention and MLP.
    """
    denoiser.requires_grad_(False)
    for block in denoiser.transformer_blocks:
        block.attn1.to_out[0] = Scaled(block.attn1.to_out[0])
        block.ff.net[2] = Scaled(block.ff.net[2])
    for name, parameter in denoiser.named_parameters():
        if name.endswith((".bias", ".scale", TABLE)):
            parameter.requires_grad_(True)
    return denoiser


def fold_scales(denoiser: Any) -> None:
    """Put the scales of `for_difffit` into the layers before them, so that it is a plain DiT again."""
    for block in denoiser.transformer_blocks:
        if isinstance(block.attn1.to_out[0], Scaled):
            block.attn1.to_out[0] = block.attn1.to_out[0].folded()
            block.ff.net[2] = block.ff.net[2].folded()
