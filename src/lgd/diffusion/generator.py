"""The generator: a denoiser, its noise schedule, an autoencoder and the condition of every class."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lgd.config import SamplingConfig
from lgd.rng import derive_seed

from . import diffusers_lazily as diffusers
from .autoencoder import Autoencoder, Shape
from .families.base import Embeddings, Family
from .families.dit import DIT
from .prediction_type import FLOW, network_input, x0_and_eps
from .types import Prediction, Step


@dataclass(frozen=True)
class Generator:
    """A diffusion model of the user's classes."""

    denoiser: Any
    """of the family's class, in eval mode"""
    scheduler_config: dict[str, Any]
    autoencoder: Autoencoder
    class_names: tuple[str, ...]
    class_ids: tuple[int, ...]
    """of each of `class_names`: the number that the denoiser knows it by, or the row of its first prompt"""
    family: Family = DIT
    embeddings: Embeddings | None = None
    """of prompts, where these are the conditions"""

    @property
    def null_condition(self) -> int | None:
        """Return the condition that stands for no class, of classifier-free guidance; None where there is none."""
        return self.family.null(self.denoiser, self.embeddings)

    @property
    def latent_shape(self) -> Shape:
        config = self.denoiser.config
        return config.in_channels, config.sample_size, config.sample_size

    @property
    def device(self) -> torch.device:
        return next(self.denoiser.parameters()).device

    @property
    def learned_variance(self) -> bool:
        """Return whether the denoiser also predicts the variance."""
        config = self.denoiser.config
        return bool(config.out_channels == 2 * config.in_channels) and self.predicts != FLOW

    @property
    def predicts(self) -> str:
        """Return the quantity that the denoiser was trained to predict, by diffusers' name (prediction_type.py)."""
        return str(self.scheduler_config.get("prediction_type", "epsilon"))

    def conditions_of(self, labels: Tensor, seeds: Sequence[int]) -> Tensor:
        """Return the conditions (B,) of images with labels (B,) into `class_names` and these seeds.

        An image's own seed chooses among the prompts of its class; without prompts a class has one condition.
        """
        first = torch.tensor(self.class_ids, device=labels.device)[labels]
        if self.embeddings is None:
            return first
        draws = torch.tensor([derive_seed(seed, "prompt") for seed in seeds], device=labels.device)
        return first + draws % torch.tensor(self.embeddings.counts, device=labels.device)[labels]

    def predict(self, x_t: Tensor, step: Step, conditions: Tensor) -> Prediction:
        """Predict x0 and eps (and the variance, where it is learned) at x_t (B, C, H, W) for conditions (B,)."""
        return self.prediction(self.output(x_t, step, conditions), x_t, step)

    def output(self, x_t: Tensor, step: Step, conditions: Tensor) -> Tensor:
        """Call the denoiser: (B, C or, with the variance, 2C, H, W) in float32, whatever it computes with."""
        x, time = network_input(x_t, step.timestep, step.alpha_bar, self.predicts)
        t = torch.full((len(x_t),), time, device=x_t.device)
        return self.family.call(self.denoiser, x.to(self.denoiser.dtype), t, conditions, self.embeddings).float()

    def prediction(self, output: Tensor, x_t: Tensor, step: Step) -> Prediction:
        """Convert the denoiser's output at x_t (B, C, H, W) to a prediction."""
        C = x_t.shape[1]
        x0, eps = x0_and_eps(output[:, :C], x_t, step.alpha_bar, self.predicts)
        return Prediction(x0, eps, output[:, C:] if self.learned_variance else None)

    def schedule(self, config: SamplingConfig) -> Any:
        """Make a fresh scheduler with its steps set; it takes eps from a denoiser that predicts eps, else x0.

        DDPM takes the spacing of OpenAI's respacing, with which DiT, Minimax Diffusion and IGD sample: 50 of 1000 steps
        are t = 999, 979, ..., 204 (index 10), ..., 0; and the learned variance, where there is one. DDIM takes the only
        spacing that agrees with its constant stride.
        """
        own = {**self.scheduler_config, "prediction_type": "epsilon" if self.predicts == "epsilon" else "sample"}
        scheduler: Any
        if config.scheduler == "ddpm":
            learned = {"variance_type": "learned_range"} if self.learned_variance else {}
            scheduler = diffusers.DDPMScheduler.from_config(own, timestep_spacing="linspace", **learned)
        elif config.scheduler == "ddim":
            scheduler = diffusers.DDIMScheduler.from_config(own, timestep_spacing="trailing")
        else:
            scheduler = diffusers.DPMSolverMultistepScheduler.from_config(
                own, algorithm_type="dpmsolver++", variance_type=None
            )
        scheduler.set_timesteps(config.steps)
        return scheduler
