"""Measure folders of very many image files: memory, seconds, and the share of training time spent waiting for them.

    python benchmarks/image_folders.py FOLDER --files 200000

Writes a tree of small JPEGs in 1,000 classes into FOLDER, unless it exists. Then reads it, in a separate process per
row, with a cache of decoded images and without one, as for sets too large for the cache. Results: image-folders.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path

CLASSES = 1000


def write_images(root: Path, files: int, side: int, link: bool) -> None:
    """Write `files` JPEGs of `side` x `side` pixels, with a thousand different contents.

    link: make files of the same content hard links, which take no space.
    """
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    encoded = []
    for _ in range(1000):
        small = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        file = BytesIO()
        small.resize((side, side), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        encoded.append(file.getvalue())
    written: dict[int, Path] = {}
    for label in range(CLASSES):
        folder = root / f"n{label:08d}"
        folder.mkdir(parents=True, exist_ok=True)
        for k in range(files // CLASSES):
            path, number = folder / f"n{label:08d}_{k}.JPEG", (label * 7 + k) % len(encoded)
            if link and number in written:
                path.hardlink_to(written[number])
            else:
                path.write_bytes(encoded[number])
                written[number] = path


def memory(what: str) -> float:
    """Return one of the kernel's figures in MiB: VmRSS, RssAnon or VmHWM (the peak of VmRSS)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024


def measure(root: Path, size: int, kept: bool, steps: int) -> dict[str, float]:
    """Load the images, read them all in random order, and train a classifier on some of them; returns the figures."""
    import torch
    from torch.nn import functional as F

    from lgd.classifiers.architectures import channel_statistics, new_classifier
    from lgd.classifiers.train import augment, first_targets, new_optimiser
    from lgd.config import ClassifierConfig, DatasetConfig, TrainingConfig
    from lgd.data import cache
    from lgd.data.imageset import to_float
    from lgd.data.splits import load_splits
    from lgd.data.stores import waiting

    torch.set_num_threads(1)
    found = {"imports MiB": memory("VmRSS")}
    if not kept:
        cache.LARGEST = 0
    config = DatasetConfig(source=f"folder:{root}", size=size, channels=3)
    start, used = time.monotonic(), time.process_time()
    train = load_splits(config).train
    found["load s"], found["load CPU s"] = time.monotonic() - start, time.process_time() - used
    found["loaded MiB"], found["loading peak MiB"] = memory("VmRSS"), memory("VmHWM")
    start, used = time.monotonic(), time.process_time()
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    for _ in train.stream(order.split(256)):
        pass
    found["images/s"] = len(train) / (time.monotonic() - start)
    found["images/CPU s"] = len(train) / (time.process_time() - used)
    training = TrainingConfig(crop_padding=size // 8)
    classifier = new_classifier(ClassifierConfig(training=training), train.shape, CLASSES, *channel_statistics(train))
    optimiser, generator = new_optimiser(classifier, training), torch.Generator().manual_seed(0)
    start, waited = time.monotonic(), waiting.seconds
    chunks = order[: 64 * steps].split(64)
    for chosen, pixels in zip(chunks, train.stream(chunks), strict=True):
        targets = first_targets(train, chosen, training, None)
        x, y = augment(to_float(pixels), targets, training, classifier, generator)
        loss = F.cross_entropy(classifier.network(x), y)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    found["waiting %"] = 100 * (waiting.seconds - waited) / (time.monotonic() - start)
    found["peak MiB"], found["images"] = memory("VmHWM"), len(train)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=200_000)
    parser.add_argument("--link", action="store_true", help="hard-link files of equal content, for the largest trees")
    parser.add_argument("--side", type=int, default=80)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--measure", choices=["kept", "not kept"])
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.folder, options.size, options.measure == "kept", options.steps)))
        return
    if not options.folder.exists():
        start = time.monotonic()
        write_images(options.folder, options.files, options.side, options.link)
        print(f"wrote {options.files} files in {time.monotonic() - start:.0f} s", file=sys.stderr)
    with tempfile.TemporaryDirectory() as cache:
        for name, kept in (("first, kept", "kept"), ("again, kept", "kept")):
            report(name, kept, Path(cache) / "kept")
        for name in ("first, not kept", "again, not kept"):
            report(name, "not kept", Path(cache) / "not")


def report(name: str, kept: str, cache: Path) -> None:
    """Measure in a separate process and print a row."""
    command = [sys.executable, *sys.argv, "--measure", kept]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    found = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    print(name, json.dumps({key: round(value, 1) for key, value in json.loads(found).items()}), flush=True)


if __name__ == "__main__":
    main()
