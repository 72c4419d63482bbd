"""Classifier-free guidance (Ho and Salimans, 2022)."""

import torch
from torch import Tensor

from lgd.diffusion.generator import Generator
from lgd.diffusion.types import Denoiser, Prediction, Step


def classifier_free(generator: Generator, conditions: Tensor, scale: float, channels: int = 0) -> Denoiser:
    """Return a denoiser that predicts null + scale (class - null), from one call for both; scale 1: the class alone.

    conditions (B,): of the images, by `Generator.conditions_of`. channels: guide the first so many alone and leave the
    class's own in the others, as DiT's own code does with 3 of 4; 0 guides all. The variance, where it is learned, is
    the class's own.

    The outputs are mixed before they become x0 and eps. Both are affine in the output at the same x_t and the weights
    1 - scale and scale sum to one, so this equals mixing either of them.
    """

    def conditional(x_t: Tensor, step: Step) -> Prediction:
        return generator.predict(x_t, step, conditions)

    null = generator.null_condition
    if scale == 1 or null is None:
        assert scale == 1, "resolve refuses a scale where there is no null class"
        return conditional
    both = torch.cat([conditions, torch.full_like(conditions, null)])

    def guided(x_t: Tensor, step: Step) -> Prediction:
        C = channels or x_t.shape[1]
        of_class, of_null = generator.output(torch.cat([x_t, x_t]), step, both).chunk(2)
        mixed = of_null[:, :C] + scale * (of_class[:, :C] - of_null[:, :C])
        return generator.prediction(torch.cat([mixed, of_class[:, C:]], dim=1), x_t, step)

    return guided
