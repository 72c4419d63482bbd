"""The generator: denoiser + scheduler + autoencoder + class map. The same object whether trained here or loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from diffusers import DDIMScheduler, DDPMScheduler, DiTTransformer2DModel, DPMSolverMultistepScheduler
from torch import Tensor

from lgd.config import GeneratorConfig, SamplingConfig
from lgd.errors import UserError
from lgd.files import read_json, write_json
from lgd.rng import seeded_initialisation

from .types import Prediction, Step


class Autoencoder(Protocol):
    """Images in [0, 1] to latents and back. `decode` must be differentiable."""

    def encode(self, images: Tensor) -> Tensor: ...

    def decode(self, latents: Tensor) -> Tensor: ...


class Pixels:
    """The identity autoencoder: a latent is the image in [-1, 1]."""

    def encode(self, images: Tensor) -> Tensor:
        return images * 2 - 1

    def decode(self, latents: Tensor) -> Tensor:
        return (latents + 1) / 2


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
        """The label that stands for "any class"."""
        return int(self.denoiser.config.num_embeds_ada_norm)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, H, W)"""
        config = self.denoiser.config
        return config.in_channels, config.sample_size, config.sample_size

    @property
    def device(self) -> torch.device:
        return next(self.denoiser.parameters()).device

    def predict(self, x_t: Tensor, step: Step, class_ids: Tensor) -> Prediction:
        """Noise (and variance, where it is learned) for x_t (B, C, H, W) under the denoiser's class ids (B,)."""
        t = torch.full((len(x_t),), step.timestep, device=x_t.device)
        output = self.denoiser(x_t, timestep=t, class_labels=class_ids).sample
        C = x_t.shape[1]
        return Prediction(output[:, :C], output[:, C:] if output.shape[1] > C else None)

    def ids_of(self, labels: Tensor) -> Tensor:
        """The denoiser's ids of labels (B,) into `class_names`."""
        return torch.tensor(self.class_ids, device=labels.device)[labels]

    def schedule(self, config: SamplingConfig) -> Any:
        """A fresh scheduler with its steps set.

        DDPM takes the spacing of OpenAI's respacing, which LGD's lineage samples with: 50 of 1000 steps are t = 999,
        979, ..., 204 (index 10), ..., 0. DDIM takes the only spacing that agrees with its constant stride.
        """
        scheduler: Any
        if config.scheduler == "ddpm":
            scheduler = DDPMScheduler.from_config(self.scheduler_config, timestep_spacing="linspace")
        elif config.scheduler == "ddim":
            scheduler = DDIMScheduler.from_config(self.scheduler_config, timestep_spacing="trailing")
        else:
            scheduler = DPMSolverMultistepScheduler.from_config(self.scheduler_config, algorithm_type="dpmsolver++")
        scheduler.set_timesteps(config.steps)
        return scheduler


def check_patch(config: GeneratorConfig, shape: tuple[int, int, int]) -> None:
    """Errors: UserError when latents of `shape` (C, H, W) are not square or the patch does not divide them."""
    _, height, width = shape
    if height != width or height % config.patch_size:
        raise UserError(f"generator.patch_size {config.patch_size} does not fit images of {width} x {height}")


def new_denoiser(config: GeneratorConfig, shape: tuple[int, int, int], classes: int) -> DiTTransformer2DModel:
    """A DiT with fresh weights for latents of `shape` (C, H, W). Errors: as `check_patch`."""
    check_patch(config, shape)
    channels, height, _ = shape
    with seeded_initialisation(config.seed, "denoiser"):
        denoiser = DiTTransformer2DModel(
            num_attention_heads=config.heads,
            attention_head_dim=config.head_width,
            in_channels=channels,
            out_channels=channels,
            num_layers=config.blocks,
            sample_size=height,
            patch_size=config.patch_size,
            num_embeds_ada_norm=classes,
        )
    return without_own_dropout(denoiser)


def without_own_dropout(denoiser: DiTTransformer2DModel) -> DiTTransformer2DModel:
    """Switch off diffusers' label dropout, which draws anew in every block; training drops labels once per image."""
    for block in denoiser.transformer_blocks:
        block.norm1.emb.class_embedder.dropout_prob = 0
    return denoiser


def save_generator(generator: Generator, folder: Path) -> None:
    """Write denoiser and scheduler as diffusers does, and the class map."""
    generator.denoiser.save_pretrained(folder / "transformer")
    DDPMScheduler.from_config(generator.scheduler_config).save_pretrained(folder / "scheduler")
    classes = dict(zip(generator.class_names, generator.class_ids, strict=True))
    write_json(folder / "classes.json", classes)


def load_generator(folder: Path, device: str | torch.device = "cpu") -> Generator:
    """Read what `save_generator` wrote. Errors: UserError naming the part that is missing or corrupt."""
    classes = read_json(folder / "classes.json")
    scheduler_config = read_json(folder / "scheduler" / "scheduler_config.json")
    part = folder / "transformer"
    try:
        denoiser = DiTTransformer2DModel.from_pretrained(
            part, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False
        )
    except Exception as error:  # diffusers raises many kinds for a bad file
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{part}: cannot be loaded: {reason}") from None
    denoiser = without_own_dropout(denoiser).eval().requires_grad_(False).to(device)
    return Generator(denoiser, scheduler_config, Pixels(), tuple(classes), tuple(classes.values()))
