"""How drawing grows with images and classes, and what successive halving keeps, on a finished run of `lgd`.

    python benchmarks/drawing.py RUN [--seeds 5]

Uses the run's generator, reference and learners; nothing is judged. Prints two Markdown tables.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean, median
from time import perf_counter

import torch

from lgd.config import Config, load_config, with_values
from lgd.distillation.methods.sampled import sample_lgd
from lgd.distillation.resources import Resources
from lgd.distillation.layout import Run
from lgd.distillation.store import SelectedImage


def seconds(work: Callable[[], object], rounds: int = 5) -> float:
    """Median after one turn to warm up."""
    work()
    times = []
    for _ in range(rounds):
        start = perf_counter()
        work()
        times.append(perf_counter() - start)
    return median(times)


def drawn(config: Config, root: Path, increment: int, classes: int) -> list[SelectedImage]:
    return sample_lgd(Resources(config, Run(root), root, increment, range(classes)))


def growth(config: Config, root: Path) -> None:
    """Increment 2: images per class at all classes, classes at two images, and classes at eight that are independent.

    With deviation a slot waits for the one before, so that two classes fill a batch of two times kappa alone, and calls
    cost more than what they compute.
    """
    free = with_values(config, {"guidance.deviation": 0.0, "stages.images_per_increment": 8})
    print("| images per class, 8 classes | s | classes, 2 images each | s | classes, 8 images each, no deviation | s |")
    print("|---:|---:|---:|---:|---:|---:|")
    for factor in (1, 2, 4):
        n, more = 2 * factor, with_values(config, {"stages.images_per_increment": 2 * factor})
        images = seconds(partial(drawn, more, root, 2, 8))
        classes = seconds(partial(drawn, config, root, 2, n))
        independent = seconds(partial(drawn, free, root, 2, n))
        print(f"| {n} | {images:.2f} | {n} | {classes:.2f} | {n} | {independent:.2f} |", flush=True)


def halving(config: Config, root: Path, seeds: int, classes: int) -> None:
    """The first slot of every class and increment, so that all choices are between the same candidates."""
    one = with_values(config, {"stages.images_per_increment": 1})
    cases = [(seed, k) for seed in range(seeds) for k in range(2, config.stages.increments + 1)]
    full = [drawn(replace(one, seed=100 + seed), root, k, classes) for seed, k in cases]
    kept_scores = [item.candidates[item.chosen].score for group in full for item in group]
    any_scores = [candidate.score for group in full for item in group for candidate in item.candidates]
    print(f"\nAll to their end: mean score {fmean(kept_scores):.3f} of the kept, {fmean(any_scores):.3f} of all.\n")
    print("| compared after step | steps saved, % | the same one kept, % | mean score of the kept | valid, % |")
    print("|---:|---:|---:|---:|---:|")
    steps, kappa = config.sampling.steps, config.stages.candidates
    for index in (40, 35, 30, 25, 20, 15, 10, 5):
        early = with_values(one, {"stages.halving": index})
        groups = [drawn(replace(early, seed=100 + seed), root, k, classes) for seed, k in cases]
        pairs = [(a, b) for f, g in zip(full, groups, strict=True) for a, b in zip(f, g, strict=True)]
        same = fmean(a.chosen == b.chosen for a, b in pairs)
        kept = [b.candidates[b.chosen] for _, b in pairs]
        saved = (kappa - 1) * index / (kappa * steps)
        score, valid = fmean(c.score for c in kept), fmean(bool(c.valid) for c in kept)
        print(f"| {index} | {100 * saved:.0f} | {100 * same:.0f} | {score:.3f} | {100 * valid:.0f} |")
    valid = fmean(bool(item.candidates[item.chosen].valid) for group in full for item in group)
    print(f"| 0 (the end) | 0 | 100 | {fmean(kept_scores):.3f} | {100 * valid:.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--seeds", type=int, default=5, help="for what halving keeps; 0: growth alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = load_config(str(options.run / "config.json"))
    growth(config, options.run)
    if options.seeds:
        halving(config, options.run, options.seeds, 10)


if __name__ == "__main__":
    main()
