"""Train a small decoder of a generator's latents for guidance: an AutoencoderTiny that imitates the large decoder.

    python benchmarks/small_decoder.py GENERATOR PRESET_OR_TOML SOURCE --out DIR [--images 10000] [--steps 3000]

Its images have about the size of the image set's; --guidance.decoder DIR uses it. Reads training images only. Prints
its agreement with the large decoder on held-out training images.
"""

from __future__ import annotations

import argparse
from math import log2, log10
from pathlib import Path
from time import perf_counter

import torch
from diffusers import AutoencoderTiny
from torch import Tensor
from torch.nn import functional as F

from lgd.config import load_config, with_values
from lgd.data.imageset import to_float
from lgd.data.splits import load_splits
from lgd.diffusion.autoencoder import load_latents, resize


def new_decoder(channels: int, width: int, doublings: int) -> AutoencoderTiny:
    """Make a decoder with one block at each size and two at the smallest; its encoder is never used."""
    sizes = doublings + 1
    return AutoencoderTiny(
        encoder_block_out_channels=(8,) * sizes,
        decoder_block_out_channels=(width,) * sizes,
        num_encoder_blocks=(1,) * sizes,
        num_decoder_blocks=(2,) + (1,) * doublings,
        latent_channels=channels,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("generator", type=Path)
    parser.add_argument("config")
    parser.add_argument("source")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--width", type=int, default=32)
    options = parser.parse_args()

    torch.manual_seed(0)
    train = load_splits(with_values(load_config(options.config), {"dataset.source": options.source}).dataset).train
    teacher = load_latents(options.generator, train.shape, "bfloat16")
    chosen = torch.randperm(len(train))[: options.images]
    latents, targets = [], []
    start = perf_counter()
    with torch.no_grad():
        for pixels in train.stream(chosen.split(32)):
            z = teacher.encode(to_float(pixels))
            latents.append(z.half())
            targets.append(teacher.decode(z).half())
    z, images = torch.cat(latents), torch.cat(targets)
    print(f"{len(z)} latents of {tuple(z.shape[1:])} and their images in {perf_counter() - start:.0f} s", flush=True)

    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (teacher.mean, teacher.std))
    small = new_decoder(z.shape[1], options.width, round(log2(images.shape[-1] / z.shape[-1])))
    held = len(z) // 20

    def error(part: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            made = small.decode((z[part].float() * std + mean).to(memory_format=torch.channels_last)).sample
        made = resize(made.float() / 2 + 0.5, images.shape[-1])
        return F.mse_loss(made, images[part].float())

    small.decoder.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(small.decoder.parameters(), lr=2e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, options.steps)
    start = perf_counter()
    for step in range(options.steps):
        loss = error(torch.randint(held, len(z), (64,)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 500 == 499:
            with torch.no_grad():
                psnr = -10 * log10(float(error(torch.arange(held))))
            print(f"step {step + 1}: {psnr:.2f} dB to the large decoder, {perf_counter() - start:.0f} s", flush=True)
    small.save_pretrained(options.out)
    print(f"{options.out}: {sum(p.numel() for p in small.decoder.parameters())} weights")


if __name__ == "__main__":
    main()
