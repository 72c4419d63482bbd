"""Train a generator that is there already on other classes: in full, or with few parameters, as LoRA and DiffFit do."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lgd.config import GeneratorConfig
from lgd.errors import UserError, nearest
from lgd.rng import seeded_initialisation
from lgd.storage.files import save_tensors

from .class_map import Vocabulary, resolve

TABLE = "class_embedder.embedding_table.weight"
"""end of the names of a DiT's label tables, of which diffusers has one in every block"""
ADAPTER = "adapter"
"""folder of a tuned generator with the low-rank updates alone, in peft's files"""
PEFT = "base_model.model."
"""that peft's own models put before every name"""


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


def check_targets(targets: Collection[str], weights: Mapping[str, tuple[int, ...]]) -> None:
    """Check that LoRA finds layers to update, and its library. weights: shapes by name. Errors: UserError."""
    if find_spec("peft") is None:
        raise UserError("generator.tune: lora needs the library peft: pip install 'lgd[lora]'")
    layers = [name.removesuffix(".weight") for name, shape in weights.items() if len(shape) in (2, 4)]
    if not chosen(layers, targets):
        ends = {found[0] for layer in layers if (found := re.search(r"[^.]+(\.\d+)?$", layer))}
        hint = nearest(next(iter(targets), ""), ends)
        raise UserError(f"generator.lora.targets: no layer's name ends in {' or '.join(targets) or 'nothing'}{hint}")


def chosen(names: Iterable[str], targets: Collection[str]) -> list[str]:
    return [name for name in names if any(f".{name}".endswith(f".{target}") for target in targets)]


def for_tuning(denoiser: Any, config: GeneratorConfig) -> Any:
    if config.tune == "lora":
        return for_lora(denoiser, config)
    return for_difffit(denoiser) if config.tune == "difffit" else denoiser


def for_lora(denoiser: Any, config: GeneratorConfig) -> Any:
    """Leave to training low-rank updates of the target layers (Hu et al., 2022), and the tables of classes.

    A layer W x becomes W x + B A x with A (rank, in), drawn from the generator's seed, and B (out, rank), zero.
    """
    from peft import LoraConfig, inject_adapter_in_model

    layers = [name for name, module in denoiser.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    rank, targets = config.lora.rank, chosen(layers, config.lora.targets)
    with seeded_initialisation(config.seed, "lora"):
        inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=targets), denoiser)
    for module in denoiser.modules():
        if isinstance(module, nn.Embedding):
            module.requires_grad_(True)
    return denoiser


def save_adapter(denoiser: Any, source: str, folder: Path) -> None:
    """Write the updates of `for_lora`, not yet merged, into `folder` as peft does. source: the name of their base."""
    from peft import get_peft_model_state_dict

    config = denoiser.peft_config["default"]
    config.base_model_name_or_path = source
    updates = get_peft_model_state_dict(denoiser, save_embedding_layers=False)
    save_tensors(folder / "adapter_model.safetensors", {f"{PEFT}{name}": value for name, value in updates.items()})
    config.save_pretrained(folder)


class Scaled(nn.Module):
    """A linear layer whose outputs are multiplied by learned factors, which start at one."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear
        self.scale = nn.Parameter(torch.ones_like(linear.bias))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * self.scale

    def merge(self) -> None:
        with torch.no_grad():
            self.linear.weight.mul_(self.scale[:, None])
            self.linear.bias.mul_(self.scale)

    def get_base_layer(self) -> nn.Linear:
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


def merge(denoiser: Any) -> None:
    """Put the updates of `for_lora` or the scales of `for_difffit` into their layers, so that none is left."""
    for name, module in list(denoiser.named_modules()):
        if hasattr(module, "get_base_layer"):
            module.merge()
            denoiser.set_submodule(name, module.get_base_layer())
