"""Measure how much of a set of large images each worker holds in memory that it shares with no other process.

    python benchmarks/worker_memory.py --images 1500 --workers 2

Writes JPEGs of 224 x 224 pixels into a temporary folder, and reads all of them in each worker in random order.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

from lgd.config import DatasetConfig
from lgd.execution.local import Local
from lgd.execution.units import Unit

SIDE = 224


def anonymous() -> int:
    """Return the bytes of this process's memory that no other process shares."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def read_all(done: Path, dataset: DatasetConfig) -> None:
    """Read every training image once and write the memory that this took."""
    import torch

    from lgd.data.splits import cached_splits

    torch.zeros(1)
    before = anonymous()
    train = cached_splits(dataset).train
    for batch in train.stream(torch.randperm(len(train)).split(64)):
        batch.float().mean()
    done.write_text(json.dumps({"process": os.getpid(), "bytes": anonymous() - before, "images": len(train)}))


def main() -> None:
    import numpy as np
    from PIL import Image

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1500)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    draw = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(root / "cache")
        for i in range(options.images):
            path = root / "images" / f"class{i % 10}" / f"{i}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            small = Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            small.resize((SIDE, SIDE)).save(path)
        dataset = DatasetConfig(source=f"folder:{root / 'images'}", size=SIDE)
        done = [root / f"{i}.json" for i in range(options.workers)]
        with Local(options.workers, root) as engine:
            engine.run([Unit(path.stem, read_all, (path, dataset), path) for path in done], "read")
        for path in done:
            found = json.loads(path.read_text())
            size = found["images"] * 3 * SIDE**2
            own, whole = found["bytes"] / 2**20, size / 2**20
            print(f"worker {path.stem}: {own:.0f} MiB for {whole:.0f} MiB of pixels, ratio {own / whole:.2f}")


if __name__ == "__main__":
    main()
