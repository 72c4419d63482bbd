"""Classifier-free guidance (Ho and Salimans, 2022), also as IGD samples with it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lgd.config import SamplingConfig
from lgd.diffusion.generator import Generator
from lgd.diffusion.sampler import next_sample
from lgd.diffusion.types import Denoiser, Prediction, Step
from lgd.errors import UserError


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


class NullHalf:
    """Classifier-free guidance that also samples the null half of IGD's batch, which its code leaves in the influence.

    IGD samples as DiT does: a batch of two halves that begin at the same noise, one for the class and one for the null
    class. The denoiser sees the class half alone. The null half takes the class half's guided channels and the null
    class's own output in the others, gets noise of its own and no guidance; its image is thrown away at the end. IGD's
    influence is nevertheless that of the mean loss of both halves' images. `influence.halves = "both"` does the same.

    conditions (B,): of the images; streams: of the null half's noise, one per image. `predict` is a denoiser, to be
    called once at every step, from the noisiest on. After each call `x0` is the null half's clean latent (B, C, H, W),
    with the call's autograd graph. Errors: UserError for a generator without a null class.
    """

    x0: Tensor

    def __init__(
        self, generator: Generator, conditions: Tensor, sampling: SamplingConfig, streams: Sequence[torch.Generator]
    ) -> None:
        self.generator = generator
        self.sampling = sampling
        self.streams = streams
        self.scheduler: Any = generator.schedule(sampling)
        null = generator.null_condition
        if null is None:
            raise UserError("influence.halves: the generator has no null class, so there is no other half")
        self.conditions = torch.cat([conditions, torch.full_like(conditions, null)])
        self.x_t: Tensor | None = None

    def predict(self, x_t: Tensor, step: Step) -> Prediction:
        """Return the class half's prediction at x_t (B, C, H, W)."""
        null_x_t = x_t.detach() if self.x_t is None else self.x_t
        C = self.sampling.guided_channels or x_t.shape[1]
        of_class, of_null = self.generator.output(torch.cat([x_t, x_t]), step, self.conditions).chunk(2)
        mixed = of_null[:, :C] + self.sampling.classifier_free_scale * (of_class[:, :C] - of_null[:, :C])
        own, null = (
            self.generator.prediction(torch.cat([mixed, output[:, C:]], dim=1), x, step)
            for output, x in ((of_class, x_t), (of_null, null_x_t))
        )
        self.x0 = null.x0
        with torch.no_grad():
            self.x_t = next_sample(self.scheduler, null.detached(), step, null_x_t, self.streams)
        return own
