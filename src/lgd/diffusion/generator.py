"""The generator: a denoiser, its noise schedule, an autoencoder and the denoiser's id of every class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, DDPMScheduler, DiTTransformer2DModel, DPMSolverMultistepScheduler
from diffusers.models.attention_processor import Attention, AttnProcessor
from torch import Tensor

from lgd.config import GeneratorConfig, Precision, SamplingConfig
from lgd.errors import UserError
from lgd.rng import seeded_initialisation

from .autoencoder import Autoencoder, Shape
from .autoencoder_networks import load_part
from .prediction_type import x0_and_eps
from .types import Prediction, Step


@dataclass(frozen=True)
class Generator:
    """A class-conditional diffusion model of the user's classes."""

    denoiser: Any
    """DiTTransformer2DModel, in eval mode"""
    scheduler_config: dict[str, Any]
    autoencoder: Autoencoder
    class_names: tuple[str, ...]
    class_ids: tuple[int, ...]
    """the denoiser's id of each of `class_names`"""

    @property
    def null_id(self) -> int:
        """Return the class id that stands for no class, of classifier-free guidance."""
        return int(self.denoiser.config.num_embeds_ada_norm)

    @property
    def latent_shape(self) -> Shape:
        """Return (C, H, W)."""
        config = self.denoiser.config
        return config.in_channels, config.sample_size, config.sample_size

    @property
    def device(self) -> torch.device:
        return next(self.denoiser.parameters()).device

    @property
    def learned_variance(self) -> bool:
        """Return whether the denoiser also predicts the variance."""
        return bool(self.denoiser.out_channels == 2 * self.denoiser.config.in_channels)

    @property
    def predicts(self) -> str:
        """Return the quantity that the denoiser was trained to predict, by diffusers' name (prediction_type.py)."""
        return str(self.scheduler_config.get("prediction_type", "epsilon"))

    def predict(self, x_t: Tensor, step: Step, class_ids: Tensor) -> Prediction:
        """Predict x0 and eps (and the variance, where it is learned) at x_t (B, C, H, W) for class ids (B,)."""
        return self.prediction(self.output(x_t, step, class_ids), x_t, step)

    def output(self, x_t: Tensor, step: Step, class_ids: Tensor) -> Tensor:
        """Call the denoiser: (B, C or, with the variance, 2C, H, W) in float32, whatever it computes with."""
        t = torch.full((len(x_t),), step.timestep, device=x_t.device)
        return self.denoiser(x_t.to(self.denoiser.dtype), timestep=t, class_labels=class_ids).sample.float()

    def prediction(self, output: Tensor, x_t: Tensor, step: Step) -> Prediction:
        """Convert the denoiser's output at x_t (B, C, H, W) to a prediction."""
        C = x_t.shape[1]
        x0, eps = x0_and_eps(output[:, :C], x_t, step.alpha_bar, self.predicts)
        return Prediction(x0, eps, output[:, C:] if output.shape[1] > C else None)

    def ids_of(self, labels: Tensor) -> Tensor:
        """Return the denoiser's ids of labels (B,) into `class_names`."""
        return torch.tensor(self.class_ids, device=labels.device)[labels]

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
            scheduler = DDPMScheduler.from_config(own, timestep_spacing="linspace", **learned)
        elif config.scheduler == "ddim":
            scheduler = DDIMScheduler.from_config(own, timestep_spacing="trailing")
        else:
            scheduler = DPMSolverMultistepScheduler.from_config(own, algorithm_type="dpmsolver++", variance_type=None)
        scheduler.set_timesteps(config.steps)
        return scheduler


SIZES = {"tiny": (8, 4, 64), "small": (12, 6, 64), "base": (12, 12, 64)}
"""blocks, heads, width of a head"""


def check_patch(config: GeneratorConfig, shape: Shape) -> None:
    """Check the patch size against latents of `shape` (C, H, W).

    Errors: UserError when they are not square or the patch does not divide them.
    """
    _, height, width = shape
    if height != width or height % config.patch_size:
        what = "latents" if config.autoencoder else "images"
        raise UserError(f"generator.patch_size {config.patch_size} does not fit {what} of {width} x {height}")


def new_denoiser(config: GeneratorConfig, shape: Shape, classes: int) -> DiTTransformer2DModel:
    """Return a DiT with fresh weights for latents of `shape` (C, H, W). Errors: as `check_patch`."""
    check_patch(config, shape)
    channels, height, _ = shape
    blocks, heads, head_width = SIZES.get(config.size, (config.blocks, config.heads, config.head_width))
    with seeded_initialisation(config.seed, "denoiser"):
        denoiser = DiTTransformer2DModel(
            num_attention_heads=heads,
            attention_head_dim=head_width,
            in_channels=channels,
            out_channels=channels,
            num_layers=blocks,
            # torch's tanh form is 4 times slower on the CPU; size custom keeps it, so that its networks stay the same.
            activation_fn="gelu-approximate" if config.size == "custom" else "gelu",
            sample_size=height,
            patch_size=config.patch_size,
            num_embeds_ada_norm=classes,
        )
    return without_own_dropout(denoiser)


def load_denoiser(folder: Path, device: str, precision: Precision) -> DiTTransformer2DModel:
    """Read a saved DiT for sampling. Errors: UserError naming the folder."""
    denoiser = without_own_dropout(load_part(DiTTransformer2DModel, folder, precision))
    if precision == "bfloat16" and device == "cpu":
        for block in denoiser.transformer_blocks:
            # The forms differ by 5e-4, a tenth of bfloat16's rounding; torch's tanh form is 4 times slower on the CPU.
            if getattr(block.ff.net[0], "approximate", "none") == "tanh":
                block.ff.net[0].approximate = "none"
    return denoiser.eval().requires_grad_(False).to(device)


def with_plain_attention(denoiser: Any) -> Any:
    """Replace torch's fused attention by matrix products: in bfloat16 on the CPU backward is two to five times faster.

    For training; without gradients the fused form is faster (benchmarks/generator-speed.md).
    """
    for module in denoiser.modules():
        if isinstance(module, Attention):
            module.set_processor(AttnProcessor())
    return denoiser


def without_own_dropout(denoiser: DiTTransformer2DModel) -> DiTTransformer2DModel:
    """Switch off diffusers' label dropout, which is random in every block; training drops labels once per image."""
    for block in denoiser.transformer_blocks:
        block.norm1.emb.class_embedder.dropout_prob = 0
    return denoiser
