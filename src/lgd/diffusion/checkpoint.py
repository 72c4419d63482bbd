"""A generator's training on disk: one safetensors file with everything that the next step depends on."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from lgd.errors import UserError
from lgd.files import load_tensors, save_tensors

from .train import Training

MOMENTS = ("exp_avg", "exp_avg_sq")
"""of AdamW, per parameter"""


def save_checkpoint(path: Path, state: Training) -> None:
    """Replace the checkpoint at `path` by the state as it is."""
    tensors: dict[str, Tensor] = {f"denoiser.{name}": p for name, p in trained(state).items()}
    for (name, parameter), average in zip(trained(state).items(), state.average.shadow_params, strict=True):
        tensors[f"average.{name}"] = average
        for moment in MOMENTS if state.step else ():
            tensors[f"{moment}.{name}"] = state.optimiser.state[parameter][moment]
    tensors["order"], tensors["draw"] = state.order, state.draw.get_state()
    tensors["losses"] = torch.tensor(state.losses, dtype=torch.float64)
    save_tensors(path, tensors)


def load_checkpoint(path: Path, state: Training) -> None:
    """Bring a state that has just begun to where the checkpoint was saved.

    Errors: UserError naming a file that is corrupt or of another network.
    """
    tensors = load_tensors(path)
    try:
        losses = tensors["losses"].tolist()
        for (name, parameter), average in zip(trained(state).items(), state.average.shadow_params, strict=True):
            parameter.data.copy_(tensors[f"denoiser.{name}"])
            average.copy_(tensors[f"average.{name}"])
            if losses:
                count = torch.tensor(float(len(losses)), device=parameter.device)  # as AdamW's fused form keeps it
                moments = {moment: tensors[f"{moment}.{name}"].to(parameter.device) for moment in MOMENTS}
                state.optimiser.state[parameter] = {"step": count, **moments}
        state.draw.set_state(tensors["draw"])
        state.order, state.losses = tensors["order"], losses
    except (KeyError, RuntimeError) as error:
        raise UserError(f"{path}: not a checkpoint of this generator: {str(error).splitlines()[0]}") from None
    state.average.optimization_step = state.step


def trained(state: Training) -> dict[str, torch.nn.Parameter]:
    """The parameters that learn, by name, in the optimiser's order."""
    return {name: p for name, p in state.denoiser.named_parameters() if p.requires_grad}
