"""Checkpoints of a generator's training: one safetensors file with everything that the next step depends on."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from lgd.errors import UserError, first_line
from lgd.storage.files import load_tensors, save_tensors

from .train import Training

MOMENTS = ("exp_avg", "exp_avg_sq")
"""of AdamW, per parameter"""


def save_checkpoint(path: Path, state: Training) -> None:
    tensors: dict[str, Tensor] = {f"{part}.{name}": value for part, name, value in parts(state)}
    tensors["order"], tensors["draw"] = state.order, state.draw.get_state()
    tensors["losses"] = torch.tensor(state.losses, dtype=torch.float64)
    save_tensors(path, tensors)


def load_checkpoint(path: Path, state: Training) -> None:
    """Load a checkpoint into a fresh state. Errors: UserError for a corrupt file or another network's."""
    tensors = load_tensors(path)
    try:
        losses = tensors["losses"].tolist()
        if losses:
            for parameter in [*trained(state), *projection(state).values()]:
                count = torch.tensor(float(len(losses)), device=parameter.device)  # as AdamW's fused form keeps it
                moments = {moment: torch.empty_like(parameter.data) for moment in MOMENTS}
                state.optimiser.state[parameter] = {"step": count, **moments}
        state.losses = losses
        for part, name, value in parts(state):
            value.copy_(tensors[f"{part}.{name}"])
        state.draw.set_state(tensors["draw"])
        state.order = tensors["order"]
    except (KeyError, RuntimeError) as error:
        raise UserError(f"{path}: not a checkpoint of this generator: {first_line(error)}") from None
    state.average.optimization_step = state.step


def parts(state: Training) -> Iterator[tuple[str, str, Tensor]]:
    """Yield the tensors of optimiser and average for each trained parameter, and those of an alignment.

    Each comes as (kind, name of the parameter, values).
    """
    held = {"denoiser": [p.data for p in trained(state)], "average": state.average.shadow_params}
    for moment in MOMENTS if state.step else ():
        held[moment] = [state.optimiser.state[parameter][moment] for parameter in trained(state)]
    names = [name for name, parameter in state.denoiser.named_parameters() if parameter.requires_grad]
    for part, values in held.items():
        named = state.packed.slices(values[0]) if state.packed else dict(zip(names, values, strict=True))
        yield from ((part, name, value) for name, value in named.items())
    for name, parameter in projection(state).items():
        yield "alignment", name, parameter.data
        for moment in MOMENTS if state.step else ():
            yield f"alignment.{moment}", name, state.optimiser.state[parameter][moment]


def trained(state: Training) -> list[torch.nn.Parameter]:
    return list(state.optimiser.param_groups[0]["params"])


def projection(state: Training) -> dict[str, torch.nn.Parameter]:
    """Return the parameters of the alignment, if there is one, by name."""
    return dict(state.alignment.named_parameters()) if state.alignment is not None else {}
