"""Which frequencies a DiT embeds its timestep with, and how a saved denoiser's are found out.

The embedding is cos(t w_i), sin(t w_i) for i = 0..127. DiT's own code (Peebles and Xie, 2023) has
w_i = exp(-ln(10000) i / 128); diffusers' DiTTransformer2DModel has 127 in place of 128. Weights work with the
frequencies that they were trained with, and the class alone does not say which: DiT's published weights come in
diffusers' class, too.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from lgd.config import TimeFrequencies
from lgd.errors import UserError
from lgd.storage.files import read_json

Kind = Literal["dit", "diffusers"]

SHIFTS: dict[Kind, int] = {"dit": 0, "diffusers": 1}
"""128 less the divisor"""
RECORD = "generator.json"
"""the file of a generator's folder that says which, as `time_frequencies`"""
PUBLISHED = ("facebook/DiT-XL-2-256", "facebook/DiT-XL-2-512")
"""repositories of the Hub with weights of DiT's own code"""
EMBEDDERS = re.compile(r"transformer_blocks\.\d+\.norm1\.emb\.timestep_embedder\.(linear_1\.weight|linear_[12]\.bias)")


def set_frequencies(denoiser: Any, kind: Kind) -> Any:
    """The same denoiser, with these frequencies in every block. Packed training and copies take them over."""
    for block in denoiser.transformer_blocks:
        block.norm1.emb.time_proj.downscale_freq_shift = SHIFTS[kind]
    return denoiser


def frequencies_of(denoiser: Any) -> Kind:
    shift = denoiser.transformer_blocks[0].norm1.emb.time_proj.downscale_freq_shift
    return next(kind for kind, value in SHIFTS.items() if value == shift)


def saved_frequencies(folder: Path, wanted: TimeFrequencies = "auto") -> tuple[Kind, str]:
    """Return the frequencies of the denoiser saved in `folder`/transformer, and how they are known.

    wanted: as the user says, which comes first. Then in this order: the record in the folder; a repository of the Hub
    that is known; one embedder in all blocks, which only a conversion of DiT's own code has; a generator that lgd
    trained before it kept the record. Errors: UserError when none of these tells.
    """
    if wanted != "auto":
        return wanted, "as configured"
    if (recorded := recorded_frequencies(folder)) is not None:
        return recorded, f"by {RECORD}"
    if any(f"models--{name.replace('/', '--')}" in folder.parts for name in PUBLISHED):
        return "dit", "by its name on the Hub"
    if share_one_embedder(embedder_tensors((folder / "transformer").glob("*.safetensors"))):
        return "dit", "all blocks share one embedder"
    if (folder / "classes.json").is_file():
        return "diffusers", "trained by lgd"
    raise untold(folder)


def untold(place: Path) -> UserError:
    return UserError(
        f"{place}: nothing tells the frequencies of its timestep embedding; set generator.time_frequencies (of import"
        " and sample: --time-frequencies) to dit for weights of DiT's own code, to diffusers for a network trained with"
        " diffusers' class"
    )


def recorded_frequencies(folder: Path) -> Kind | None:
    """Return what the folder's record says; None without one. Errors: UserError naming it."""
    path = folder / RECORD
    if not path.is_file():
        return None
    values = read_json(path)
    kind = values.get("time_frequencies") if isinstance(values, dict) else None
    if kind not in get_args(Kind):
        raise UserError(f"{path}: time_frequencies must be {' or '.join(get_args(Kind))}, not {kind!r}")
    return kind


def share_one_embedder(tensors: Mapping[str, Tensor]) -> bool:
    """Whether several blocks of a DiT in diffusers' names have one and the same timestep embedder.

    DiT's own code has one for all blocks, which a conversion copies into each; diffusers' class trains one per block.
    """
    groups: dict[str, list[Tensor]] = {}
    for name, tensor in tensors.items():
        if match := EMBEDDERS.fullmatch(name):
            groups.setdefault(match[1], []).append(tensor)
    several = bool(groups) and all(len(group) > 1 for group in groups.values())
    return several and all(torch.equal(tensor, group[0]) for group in groups.values() for tensor in group)


def embedder_tensors(files: Iterable[Path]) -> dict[str, Tensor]:
    """Read the timestep embedders from safetensors; a file that is none is left to the one who loads it."""
    from safetensors import SafetensorError, safe_open

    found: dict[str, Tensor] = {}
    for path in sorted(files):
        try:
            with safe_open(path, "pt") as file:
                found |= {name: file.get_tensor(name) for name in file.keys() if EMBEDDERS.fullmatch(name)}  # noqa: SIM118
        except (SafetensorError, OSError):
            continue
    return found
