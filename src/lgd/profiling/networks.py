"""The networks that `lgd bench` samples with: random ones of a given size, or those of a finished run."""

from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lgd.classifiers.architectures import new_classifier
from lgd.config import Config, Precision, from_dict, with_defaults, with_values
from lgd.data.splits import cached_splits
from lgd.diffusion import diffusers_lazily as diffusers
from lgd.diffusion.autoencoder import Latents
from lgd.diffusion.autoencoder_networks import in_precision
from lgd.diffusion.families.dit import SIZES, without_own_dropout
from lgd.diffusion.generator import Generator
from lgd.diffusion.vae_names import SD
from lgd.distillation.layout import Run
from lgd.distillation.recipe import Growth, assets_of, recipe_of
from lgd.distillation.resources import Resources
from lgd.errors import UserError
from lgd.execution.hardware import resolve_device
from lgd.rng import seeded_initialisation
from lgd.storage.files import read_json

XL = (28, 16, 72)
"""blocks, heads and channels per head of DiT-XL"""
WIDTHS = {"small": (32, 64, 128, 128), "sd": (128, 256, 512, 512)}
"""channels of an AutoencoderKL: a small one, and Stable Diffusion's"""
LATENT = 4
"""channels of the latents"""


@dataclass(frozen=True)
class RandomNetworks:
    """Sizes of random networks."""

    denoiser: str
    """one of SIZES, or xl"""
    vae: str
    """one of WIDTHS"""
    image_size: int
    """side in pixels"""
    candidates: int
    classes: int
    precision: Precision


def altered(resources: Resources, **values: Any) -> Resources:
    """Return a copy with other values of some attributes, which shares what is loaded already."""
    own = copy(resources)
    vars(own).update(values)
    return own


def random_networks(sizes: RandomNetworks, device: str) -> Resources:
    """Make an untrained DiT, AutoencoderKL, small decoder (AutoencoderTiny), learner and reference."""
    image_size, classes, precision = sizes.image_size, sizes.classes, sizes.precision
    config = with_values(
        Config(),
        {
            "sampling.precision": precision,
            "sampling.classifier_free_scale": 1.5,
            "stages.candidates": sizes.candidates,
            "guidance.deviation": 0.0,
        },
    )
    blocks, heads, head_width = XL if sizes.denoiser == "xl" else SIZES[sizes.denoiser]
    with seeded_initialisation(0, "bench"):
        dit: Any = diffusers.DiTTransformer2DModel(
            num_layers=blocks,
            num_attention_heads=heads,
            attention_head_dim=head_width,
            in_channels=LATENT,
            out_channels=LATENT,
            sample_size=image_size // 8,
            patch_size=2,
            activation_fn="gelu",
            num_embeds_ada_norm=classes,
        )
        kl = diffusers.AutoencoderKL(**{**SD, "block_out_channels": WIDTHS[sizes.vae]})
        tiny = diffusers.AutoencoderTiny(
            encoder_block_out_channels=(16,) * 4,
            decoder_block_out_channels=(16,) * 4,
            num_encoder_blocks=(1, 1, 1, 1),
            num_decoder_blocks=(1, 1, 1, 1),
        )
        ones, shape = torch.ones(3), (3, image_size, image_size)
        learner, reference = (
            new_classifier(role, shape, classes, ones / 2, ones / 4).eval().requires_grad_(False).to(device)
            for role in (config.learner, config.reference)
        )
    for network in (dit, kl, tiny):
        in_precision(network.eval().requires_grad_(False), precision).to(device)
    full = Latents(kl, shape, image_size, (0.0,), (1 / kl.config.scaling_factor,))
    names = tuple(map(str, range(classes)))
    generator = Generator(
        without_own_dropout(dit), dict(diffusers.DDPMScheduler().config), full, names, tuple(range(classes))
    )
    small = replace(full, network=tiny, std=(1.0,))
    recipe, assets = recipe_of(config), assets_of(config, Path(), device)
    resources = Resources(Growth(Run(Path()), assets, recipe, recipe, config.learner, names), 2, range(classes))
    return altered(resources, generator=generator, guiding=small, learners=[learner], reference=reference)


def run_networks(folder: Path, candidates: int, classes: int, device: str, decoder: str) -> Resources:
    """Open the networks of a run's last increment.

    decoder: folder of a small decoder for guidance, or empty. A run of `lgd compare` shares the generator and the
    reference in the directory above it. Errors: UserError.
    """
    run = Run(folder)
    assets = folder if (folder / "generator").exists() else folder.resolve().parent
    if not run.config.exists():
        raise UserError(f"{folder}: no run: it lacks config.json")
    values = read_json(run.config)
    config = from_dict(with_defaults(values, values), str(run.config))
    config = with_values(
        config, {"stages.candidates": candidates, "guidance.deviation": 0.0, "guidance.decoder": decoder}
    )
    last = run.last_increment(config.stages.increments)
    if not run.learner(last, 0).exists():
        raise UserError(f"{folder}: no finished run of lgd: it lacks {run.learner(last, 0)}")
    names = cached_splits(config.dataset).train.class_names
    recipe = recipe_of(config)
    growth = Growth(run, assets_of(config, assets, resolve_device(device)), recipe, recipe, config.learner, names)
    resources = Resources(growth, last, range(min(classes, len(names))))
    # The next increment's number, so that the noise differs from the run's.
    return altered(resources, learners=resources.learners, increment=last + 1)
