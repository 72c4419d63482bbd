"""Measure which share of the machine's bfloat16 matmul rate the training of a generator reaches.

    python benchmarks/generator_speed.py [--size base] [--side 16] [--batch 32] [--steps 4] [--threads 1] [--profile]

Times a large matrix product and optimiser steps of a DiT on latents of 32 x SIDE x SIDE, in processor time, which other
load changes less than wall time. torch counts the operations of the denoiser's matrix products; everything else, the
optimiser included, is overhead.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from time import process_time
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from lgd.config import load_config, with_values
from lgd.diffusion.families.dit import new_denoiser, with_plain_attention
from lgd.diffusion.latents import LatentSource
from lgd.diffusion.train import begin, noise_schedule, train


def matmul_rate(threads: int) -> float:
    """Return the operations per second of a product of 2048 x 2048 matrices in bfloat16, the best of six."""
    n = 2048
    a, b = torch.randn(2, n, n).bfloat16()
    return 2 * n**3 * threads / min(seconds(lambda: a @ b) for _ in range(6))


def seconds(function: Callable[[], Any]) -> float:
    """Return the processor seconds of one call."""
    start = process_time()
    function()
    return process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="base")
    parser.add_argument("--side", type=int, default=16)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--profile", action="store_true", help="print the most expensive operations, too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = with_values(
        load_config("cifar10"),
        {
            "generator.size": options.size,
            "generator.batch_size": options.batch,
            "generator.steps": options.steps + 2,
            "generator.flip": False,
        },
    ).generator
    shape = (32, options.side, options.side)
    array = torch.randn(1, 2 * options.batch, *shape).half().numpy()
    source, labels = LatentSource(array, torch.zeros(32), torch.ones(32)), torch.arange(2 * options.batch) % 10
    state = begin(with_plain_attention(new_denoiser(config, shape, 10)), config, len(labels))
    steps = train(state, source, labels, noise_schedule(config, 5.0), config)
    with FlopCounterMode(display=False) as counter:
        next(steps)
    next(steps)
    rate = matmul_rate(options.threads)
    taken = seconds(lambda: [next(steps) for _ in range(options.steps - 1)]) / (options.steps - 1)
    reached = counter.get_total_flops() * options.threads / taken
    parameters = sum(p.numel() for p in state.denoiser.parameters())
    print(
        f"{options.size}: {parameters / 1e6:.0f} M parameters, {(options.side // 2) ** 2} tokens, batch {options.batch}"
    )
    print(f"matmul: {rate / 1e9:.0f} GFLOP/s of {options.threads} threads")
    print(f"step: {taken:.2f} s of processor time for {counter.get_total_flops() / 1e9:.0f} GFLOP")
    print(f"reached: {reached / 1e9:.0f} GFLOP/s, {reached / rate:.0%} of the matmul rate")
    if options.profile:
        with torch.profiler.profile() as profile:
            next(steps)
        print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=15, max_name_column_width=40))


if __name__ == "__main__":
    main()
