"""Measure the gain from keeping freed memory in the process (lgd/execution/hardware.py).

    python benchmarks/kept_memory.py [--rounds 3]

Each row is the median over separate processes, which take turns with and without it: processor seconds of the work in
the program (user) and in the kernel (system), and the peak memory of the process.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from lgd.execution.hardware import keep_freed_memory

WORK = ("classifier", "generator")


def work(name: str) -> None:
    """Train on one thread: a ConvNet-4 of width 64 on 64 x 64 pixels in bfloat16, or the DiT of the digits preset."""
    import torch

    from lgd.classifiers.train import train_classifier
    from lgd.config import ClassifierConfig, TrainingConfig, load_config, with_values
    from lgd.data.imageset import ImageSet
    from lgd.data.splits import load_splits
    from lgd.diffusion.train_generator import GeneratorTraining, make_generator

    torch.set_num_threads(1)
    if name == "classifier":
        noise = torch.randint(256, (640, 3, 64, 64), dtype=torch.uint8)
        images = ImageSet(noise, torch.arange(640) % 10, tuple(map(str, range(10))))
        training = TrainingConfig(epochs=3, crop_padding=4, flip=True, precision="bfloat16")
        start = os.times()
        train_classifier(images, ClassifierConfig(training=training), 0)
    else:
        config = with_values(load_config("digits"), {"generator.steps": 300})
        images = load_splits(config.dataset).train
        with TemporaryDirectory() as folder:
            start = os.times()
            make_generator(GeneratorTraining(config.generator, config.dataset, images, "cpu"), Path(folder))
    end = os.times()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(end.user - start.user, end.system - start.system, peak)


def measured(name: str, kept: bool) -> tuple[float, ...]:
    """Run the work in a separate process; returns user seconds, system seconds and peak MiB."""
    command = [sys.executable, __file__, "--work", name, *(["--kept"] if kept else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return tuple(map(float, done.stdout.split()[-3:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", choices=WORK, help="run the work of one row in this process and print its figures")
    parser.add_argument("--kept", action="store_true")
    options = parser.parse_args()
    if options.work:
        if options.kept:
            keep_freed_memory()  # before torch is imported
        work(options.work)
        return
    print("| work | memory | user, s | system, s | together | peak, MiB |\n|---|---|---:|---:|---:|---:|")
    for name in WORK:
        rounds = [(measured(name, False), measured(name, True)) for _ in range(options.rounds)]
        for label, side in (("given back", 0), ("kept", 1)):
            user, system, peak = (median(pair[side][column] for pair in rounds) for column in range(3))
            print(f"| {name} | {label} | {user:.2f} | {system:.2f} | {user + system:.2f} | {peak:.0f} |")


if __name__ == "__main__":
    main()
