"""Classifier-free guidance (Ho and Salimans, 2022)."""

from __future__ import annotations

import torch
from torch import Tensor

from lgd.diffusion.generator import Generator
from lgd.diffusion.types import Denoiser, Prediction, Step


def classifier_free(generator: Generator, labels: Tensor, scale: float, channels: int = 0) -> Denoiser:
    """eps = eps_null + scale (eps_class - eps_null), both halves in one call; scale 1 asks for the class alone.

    labels (B,) into the generator's classes. channels: guide the first so many alone and leave the class's own eps in
    the others, as DiT's own code does with 3 of 4; 0 guides all. The variance, where it is learned, is the class's own.
    """
    class_ids = generator.ids_of(labels)

    def conditional(x_t: Tensor, step: Step) -> Prediction:
        return generator.predict(x_t, step, class_ids)

    def guided(x_t: Tensor, step: Step) -> Prediction:
        both = torch.cat([class_ids, torch.full_like(class_ids, generator.null_id)])
        prediction = generator.predict(torch.cat([x_t, x_t]), step, both)
        eps, eps_null = prediction.eps.chunk(2)
        variance = None if prediction.variance is None else prediction.variance.chunk(2)[0]
        mixed = eps_null + scale * (eps - eps_null)
        if channels:
            mixed = torch.cat([mixed[:, :channels], eps[:, channels:]], dim=1)
        return Prediction(mixed, variance)

    return conditional if scale == 1 else guided
