"""Measure how the cost of `lgd-real` grows with images and with classes: processor seconds of each part.

    OMP_NUM_THREADS=1 python benchmarks/real_growth.py parquet:TRAIN,TEST [--images 12500 25000] [--classes 10 50 100]

More classes of the same images are made by splitting each class, so that nothing but the number changes. The reference
trains for one epoch, since its cost is known: epochs times images. Results: profile.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lgd import select
from lgd.storage.files import read_json


def write_images(source: Path, out: Path, images: int, classes: int) -> None:
    """Write the first `images` of a Parquet file, each of its classes split into as many as give `classes`."""
    table = pq.read_table(source).slice(0, images)
    labels = table["label"].to_numpy()
    pieces = classes // len(np.unique(labels))
    split = pa.array(labels * pieces + np.arange(len(labels)) % pieces)
    table = table.set_column(table.schema.get_field_index("label"), "label", split)
    pq.write_table(table.replace_schema_metadata(None), out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="parquet:TRAIN,TEST")
    parser.add_argument("--images", type=int, nargs="+", default=[12_500, 25_000, 50_000])
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 50, 100])
    options = parser.parse_args()
    train, test = map(Path, options.source.removeprefix("parquet:").split(","))
    print("| images | classes | all, processor s | reference | stages |\n|---:|---:|---:|---:|---:|", flush=True)
    cells = [(images, options.classes[0]) for images in options.images]
    cells += [(options.images[-1], classes) for classes in options.classes[1:]]
    for images, classes in cells:
        with TemporaryDirectory() as folder:
            root = Path(folder)
            write_images(train, root / "train.parquet", images, classes)
            write_images(test, root / "test.parquet", 10_000, classes)
            begun = getrusage(RUSAGE_SELF).ru_utime
            run = root / "run"
            select(
                f"parquet:{root / 'train.parquet'},{root / 'test.parquet'}",
                method="lgd-real",
                per_class=10,
                out=run,
                **{"reference.training.epochs": 1, "compute.workers": 1},
            )
            used = getrusage(RUSAGE_SELF).ru_utime - begun
            seconds = read_json(run / "seconds.json")
            parts = [f"{seconds.get(name, 0):.0f}" for name in ("reference", "stages")]
            print(f"| {images} | {classes} | {used:.0f} | {' | '.join(parts)} |", flush=True)


if __name__ == "__main__":
    main()
