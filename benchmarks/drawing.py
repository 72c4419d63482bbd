"""Measure how sampling time grows with images and classes, on a finished run of `lgd`.

    python benchmarks/drawing.py RUN

Uses the run's generator, reference and learners; evaluates nothing. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

import torch

from lgd.config import Config, load_config, with_values
from lgd.distillation.methods.sampled import sample_lgd
from lgd.distillation.resources import Resources
from lgd.distillation.store import Run, SelectedImage


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = load_config(str(options.run / "config.json"))
    growth(config, options.run)


if __name__ == "__main__":
    main()
