"""Denoisers of the user's own networks, and a check of what any denoiser returns."""

from collections.abc import Callable

import torch
from torch import Tensor

from lgd.errors import UserError, nearest

from .prediction_type import FLOW, KINDS, network_input, x0_and_eps
from .types import Denoiser, Prediction, Step


def denoiser_of(network: Callable[[Tensor, Tensor], Tensor], predicts: str = "epsilon") -> Denoiser:
    """Return the denoiser of any network: (x_t (B, C, H, W), timesteps (B,)) to an output of x_t's shape.

    predicts: the output's meaning, by diffusers' names: epsilon, sample, v_prediction or flow_prediction
    (prediction_type.py). Errors: UserError for another name; in sampling, for an output of another shape.
    """
    if predicts not in (*KINDS, FLOW):
        raise UserError(f"predicts: unknown {predicts!r}{nearest(predicts, (*KINDS, FLOW))}")

    def denoise(x_t: Tensor, step: Step) -> Prediction:
        x, time = network_input(x_t, step.timestep, step.alpha_bar, predicts)
        output = network(x, torch.full((len(x),), time, device=x.device))
        if not isinstance(output, Tensor) or output.shape != x_t.shape:
            raise shape_error("network", output, x_t)
        return Prediction(*x0_and_eps(output, x_t, step.alpha_bar, predicts))

    return denoise


def predicted(denoiser: Denoiser, x_t: Tensor, step: Step) -> Prediction:
    """Return the denoiser's prediction at x_t (B, C, H, W). Errors: UserError for anything of another shape."""
    prediction = denoiser(x_t, step)
    if not isinstance(prediction, Prediction):
        raise UserError(
            f"denoiser: returned {type(prediction).__name__}; expected lgd.guidance.Prediction(x0, eps), which"
            " lgd.guidance.denoiser_of makes of a network's output"
        )
    for name in ("x0", "eps"):
        if (part := getattr(prediction, name)).shape != x_t.shape:
            raise shape_error(f"denoiser: {name}", part, x_t)
    return prediction


def shape_error(what: str, given: object, x_t: Tensor) -> UserError:
    shape = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
    return UserError(f"{what}: returned {shape} for x_t {tuple(x_t.shape)}; expected the shape of x_t")
