"""Make a generator small enough to distribute: weights in half precision, together with the autoencoder.

    python benchmarks/pack_generator.py GENERATOR --out OUT

packs a generator of `lgd generator train`; one whose training goes on, with the averages of its last checkpoint. A
class-conditional DiT that was trained elsewhere is assembled by

    python benchmarks/pack_generator.py DENOISER AUTOENCODER --classes airplane automobile ... --image-size 64 --out OUT

DENOISER holds what DiTTransformer2DModel.save_pretrained wrote, and latent_stats.json with `latent_mean` and
`latent_std` per channel. AUTOENCODER holds taef2's two weight files, or an AutoencoderKL or AutoencoderTiny.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from diffusers import DDPMScheduler, DiTTransformer2DModel

from lgd.config import load_config
from lgd.data.splits import load_splits
from lgd.diffusion.autoencoder import Latents
from lgd.diffusion.autoencoder_networks import load_network, load_part
from lgd.diffusion.checkpoint import load_checkpoint, trained
from lgd.diffusion.folder import load_generator, save_generator
from lgd.diffusion.generator import Generator
from lgd.diffusion.starts import new_start
from lgd.diffusion.train import begin
from lgd.storage.files import read_json


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("denoiser", type=Path)
    parser.add_argument("autoencoder", type=Path, nargs="?")
    parser.add_argument("--classes", nargs="+", default=(), help="class names in the order of the denoiser's ids")
    parser.add_argument("--image-size", type=int, default=0, help="side in pixels of the autoencoder's images")
    parser.add_argument("--clip", type=float, default=5.0, help="predicted clean latents are clamped to +- this")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)

    autoencoder: Path | None = options.autoencoder
    if (options.denoiser / "checkpoint.safetensors").is_file():
        generator, autoencoder = unfinished(options.denoiser)
    elif autoencoder is None:
        own = load_generator(options.denoiser)
        generator = replace(own, denoiser=own.denoiser.half())
        autoencoder = options.denoiser / "autoencoder"
    else:
        generator = assemble(options)
    save_generator(generator, options.out, autoencoder)
    print(f"{options.out}: latents of {load_generator(options.out).latent_shape}, {len(generator.class_names)} classes")


def unfinished(folder: Path) -> tuple[Generator, Path | None]:
    """Return the averaged weights of a training that goes on as a generator, and the folder of its autoencoder."""
    config = load_config(str(folder / "config.json"))
    images = load_splits(config.dataset).train
    start = new_start(config.generator, images)
    state = begin(start.denoiser, config.generator, len(images), start.family)
    load_checkpoint(folder / "checkpoint.safetensors", state)
    state.average.copy_to(trained(state))
    autoencoder = start.autoencoder
    if isinstance(autoencoder, Latents):
        moments = read_json(folder / "latents" / "latents.json")
        autoencoder = autoencoder.normalised(moments["mean"], moments["std"])
    print(f"{folder}: after step {state.step}")
    schedule, ids = dict(start.scheduler.config), start.conditions.class_ids
    denoiser = start.denoiser.eval().half()
    return Generator(denoiser, schedule, autoencoder, images.class_names, ids, start.family), start.network


def assemble(options: argparse.Namespace) -> Generator:
    """Assemble a generator from a denoiser, statistics of its latents, and an autoencoder."""
    denoiser = load_part(DiTTransformer2DModel, options.denoiser).half()
    stats = read_json(options.denoiser / "latent_stats.json")
    size = options.image_size
    network = load_network(options.autoencoder)
    autoencoder = Latents(network, (3, size, size), size, tuple(stats["latent_mean"]), tuple(stats["latent_std"]))
    scheduler = DDPMScheduler(beta_start=1e-4, beta_end=0.02, clip_sample=True, clip_sample_range=options.clip)
    ids = tuple(range(len(options.classes)))
    return Generator(denoiser, dict(scheduler.config), autoencoder, tuple(options.classes), ids)


if __name__ == "__main__":
    main()
