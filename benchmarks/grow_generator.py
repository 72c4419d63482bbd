"""Make a generator deeper without changing its function, to measure speed and scores on a larger network.

    python benchmarks/grow_generator.py GENERATOR OUT [--times 3]

Adds `times` - 1 new blocks behind every block of the DiT. Their adaptive norm is zero, and so are their gates, so they
cost as much as any block and add nothing to its output. Everything else is copied.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from diffusers import DiTTransformer2DModel
from torch import nn

from lgd.diffusion.folder import load_generator, save_generator
from lgd.diffusion.generator import Generator


def deepen(denoiser: DiTTransformer2DModel, times: int) -> DiTTransformer2DModel:
    """Return a DiT of `times` as many blocks that computes the same function."""
    config = dict(denoiser.config)
    deeper = DiTTransformer2DModel.from_config({**config, "num_layers": times * config["num_layers"]})
    own = denoiser.state_dict()
    moved = {}
    for name, value in own.items():
        head, _, rest = name.partition(".")
        if head == "transformer_blocks":
            block, _, rest = rest.partition(".")
            name = f"{head}.{times * int(block)}.{rest}"
        moved[name] = value
    deeper.load_state_dict(moved, strict=False)
    for place, added in enumerate(deeper.transformer_blocks):
        if place % times:
            nn.init.zeros_(added.norm1.linear.weight)
            nn.init.zeros_(added.norm1.linear.bias)
    return deeper.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("generator", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--times", type=int, default=3)
    options = parser.parse_args()
    torch.manual_seed(0)
    old = load_generator(options.generator)
    deeper = deepen(old.denoiser, options.times)
    x = torch.randn(4, *old.latent_shape)
    inputs = {"timestep": torch.tensor([0, 100, 500, 999]), "class_labels": torch.arange(4)}
    with torch.no_grad():
        change = (deeper(x, **inputs).sample - old.denoiser.eval()(x, **inputs).sample).abs().max()
    assert change < 1e-4, change
    new = Generator(deeper.half(), old.scheduler_config, old.autoencoder, old.class_names, old.class_ids)
    save_generator(new, options.out, options.generator / "autoencoder")
    count = sum(p.numel() for p in deeper.parameters())
    print(f"{options.out}: {count / 1e6:.1f} M parameters; the output differs by {change:.1e} at most")


if __name__ == "__main__":
    main()
