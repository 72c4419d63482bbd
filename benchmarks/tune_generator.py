"""Compare ways to tune a generator: LoRA, DiffFit and all weights, after the same number of steps.

    python benchmarks/tune_generator.py [--base-steps 2000] [--steps 300]

A DiT of the digits preset's size learns the digits 0 to 4, then 5 to 9 by each way from the same weights. Prints the
squared error of the predicted noise on validation images of 5 to 9, for a fixed draw of noise and timesteps, at several
learning rates. One thread. Results: tuning.md.
"""

from __future__ import annotations

import argparse
import copy
from dataclasses import replace
from time import process_time
from typing import Any

import torch

from lgd.config import GeneratorConfig, LoraConfig, load_config
from lgd.data.imageset import ImageSet, to_float
from lgd.data.splits import load_splits
from lgd.diffusion.autoencoder import Pixels
from lgd.diffusion.checkpoint import trained
from lgd.diffusion.families.dit import new_denoiser, with_classes
from lgd.diffusion.finetune import for_tuning
from lgd.diffusion.latents import PixelSource
from lgd.diffusion.train import begin, noise_schedule, train

WAYS = {
    "full": GeneratorConfig(tune="full"),
    "DiffFit": GeneratorConfig(tune="difffit"),
    "LoRA, rank 4": GeneratorConfig(tune="lora", lora=LoraConfig(4)),
    "LoRA, rank 16": GeneratorConfig(tune="lora", lora=LoraConfig(16)),
}
RATES = (1e-3, 3e-3, 1e-2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-steps", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = load_config("digits")
    splits = load_splits(replace(config.dataset, eval_split="validation"))
    old, new, held = digits(splits.train, 0), digits(splits.train, 5), digits(splits.test, 5)
    own = replace(config.generator, precision="float32", steps=options.base_steps)
    base = learn(new_denoiser(own, old.shape, 5), own, old)
    start = with_classes(base, [None] * 5)
    print(f"{len(new)} training and {len(held)} validation images; error before tuning {error(start, own, held):.4f}")
    print("| tuning | trained parameters | " + " | ".join(f"rate {rate:g}" for rate in RATES) + " | ms per step |")
    print("|---|---:|" + "---:|" * (len(RATES) + 1))
    for name, way in WAYS.items():
        cells, seconds = [], 0.0
        for rate in RATES:
            tuning = replace(own, steps=options.steps, learning_rate=rate, tune=way.tune, lora=way.lora)
            denoiser = for_tuning(copy.deepcopy(start), tuning)
            count = sum(p.numel() for p in denoiser.parameters() if p.requires_grad)
            began = process_time()
            learn(denoiser, tuning, new)
            seconds += process_time() - began
            cells.append(f"{error(denoiser, own, held):.4f}")
        step = 1000 * seconds / options.steps / len(RATES)
        print(f"| {name} | {count:,} | {' | '.join(cells)} | {step:.1f} |", flush=True)


def digits(images: ImageSet, first: int) -> ImageSet:
    """Return five digits from `first`, numbered from 0."""
    mine = (images.labels >= first) & (images.labels < first + 5)
    return ImageSet(images.images[mine], images.labels[mine] - first, images.class_names[first : first + 5])


def learn(denoiser: Any, config: GeneratorConfig, images: ImageSet) -> Any:
    """Return the denoiser, trained, with its averaged weights."""
    state = begin(denoiser, config, len(images))
    for _ in train(state, PixelSource(images), images.labels, noise_schedule(config, 1.0), config):
        pass
    state.average.copy_to(trained(state))
    return denoiser.eval()


@torch.no_grad()
def error(denoiser: Any, config: GeneratorConfig, images: ImageSet) -> float:
    """Return the mean squared error of the predicted noise over eight draws per image."""
    draw, scheduler = torch.Generator().manual_seed(0), noise_schedule(config, 1.0)
    x0 = Pixels().encode(to_float(images.images)).repeat(8, 1, 1, 1)
    t = torch.randint(config.train_timesteps, (len(x0),), generator=draw)
    eps = torch.randn(x0.shape, generator=draw)
    x_t = scheduler.add_noise(x0, eps, t)
    found = denoiser(x_t, timestep=t, class_labels=images.labels.repeat(8)).sample
    return (found - eps).square().mean().item()


if __name__ == "__main__":
    main()
