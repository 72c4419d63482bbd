"""Measure how sampling time grows with images and classes, on a finished run of `lgd`.

    python benchmarks/sampling_speed.py RUN

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
from lgd.distillation.layout import Run
from lgd.distillation.methods.sampled import sample_lgd
from lgd.distillation.resources import Resources
from lgd.distillation.store import SelectedImage
from lgd.experiments.resolve import resolve


def seconds(work: Callable[[], object], rounds: int = 5) -> float:
    """Return the median time of `rounds` calls, after one call to warm up."""
    work()
    times = []
    for _ in range(rounds):
        start = perf_counter()
        work()
        times.append(perf_counter() - start)
    return median(times)


def sample_increment(config: Config, root: Path, increment: int, classes: int) -> list[SelectedImage]:
    """Sample the images of the first `classes` classes of an increment, as a run does."""
    experiment = resolve(config)
    growth = experiment.growth(Run(root), experiment.assets(root))
    return sample_lgd(Resources(growth, increment, range(classes)))


def growth(config: Config, root: Path) -> None:
    """Time increment 2 with more images per class, with more classes, and with more classes without deviation guidance.

    With deviation guidance a slot waits for the one before. Two classes then make batches of only two times kappa
    images, in which the overhead of calls outweighs the arithmetic.
    """
    free = with_values(config, {"guidance.deviation": 0.0, "stages.images_per_increment": 8})
    print("| images per class, 8 classes | s | classes, 2 images each | s | classes, 8 images each, no deviation | s |")
    print("|---:|---:|---:|---:|---:|---:|")
    for factor in (1, 2, 4):
        n, more = 2 * factor, with_values(config, {"stages.images_per_increment": 2 * factor})
        images = seconds(partial(sample_increment, more, root, 2, 8))
        classes = seconds(partial(sample_increment, config, root, 2, n))
        independent = seconds(partial(sample_increment, free, root, 2, n))
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
