"""Put a class-conditional DiT that was trained elsewhere together with its autoencoder, as `generator.source` wants it.

    python benchmarks/pack_generator.py DENOISER AUTOENCODER --classes airplane automobile ... --image-size 64 --out OUT

DENOISER holds what DiTTransformer2DModel.save_pretrained wrote, and latent_stats.json with `latent_mean` and
`latent_std` per channel. AUTOENCODER holds taef2's two weight files, or an AutoencoderKL or AutoencoderTiny.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from diffusers import DDPMScheduler, DiTTransformer2DModel

from lgd.diffusion.autoencoder import Latents
from lgd.diffusion.folder import load_generator, save_generator
from lgd.diffusion.generator import Generator
from lgd.diffusion.networks import load_network, load_part
from lgd.files import read_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("denoiser", type=Path)
    parser.add_argument("autoencoder", type=Path)
    parser.add_argument("--classes", nargs="+", required=True, help="names, in the order of the denoiser's ids")
    parser.add_argument("--image-size", type=int, required=True, help="height and width that the autoencoder sees")
    parser.add_argument("--clip", type=float, default=5.0, help="predicted clean latents are clamped to +- this")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()

    denoiser = load_part(DiTTransformer2DModel, options.denoiser).half()
    stats = read_json(options.denoiser / "latent_stats.json")
    size = options.image_size
    network = load_network(options.autoencoder)
    autoencoder = Latents(network, (3, size, size), size, tuple(stats["latent_mean"]), tuple(stats["latent_std"]))
    scheduler = DDPMScheduler(beta_start=1e-4, beta_end=0.02, clip_sample=True, clip_sample_range=options.clip)
    ids = tuple(range(len(options.classes)))
    generator = Generator(denoiser, dict(scheduler.config), autoencoder, tuple(options.classes), ids)
    save_generator(generator, options.out, options.autoencoder)
    print(f"{options.out}: latents of {load_generator(options.out).latent_shape}, {len(ids)} classes")


if __name__ == "__main__":
    main()
