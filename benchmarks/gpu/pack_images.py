"""Pack the images of a source into two small Parquet files, for a machine that they must travel to.

    python benchmarks/gpu/pack_images.py parquet:TRAIN,TEST [--size 128] [--quality 80] [--out FOLDER]

FOLDER (default: benchmarks/gpu/images, which git ignores) holds train.parquet and test.parquet. Images are read as lgd
reads them, at `size` pixels, and stored as WebP, with loss. ImageNette's 13,394 take 41 MB by default.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from lgd.config import DatasetConfig
from lgd.data.imageset import ImageSet
from lgd.data.splits import load_splits

CHUNK = 256
"""images read at once"""


def pack(images: ImageSet, path: Path, quality: int) -> None:
    """Write images as WebP, with labels and names of classes."""
    encoded = []
    for pixels in images.stream(torch.arange(len(images)).split(CHUNK)):
        for image in pixels.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy():
            file = io.BytesIO()
            Image.fromarray(image).save(file, "WEBP", quality=quality, method=6)
            encoded.append({"bytes": file.getvalue(), "path": None})
    columns = {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(images.class_names))}
    schema = datasets.Features(columns).arrow_schema
    pq.write_table(pa.table({"image": encoded, "label": images.labels.numpy()}, schema), path)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--quality", type=int, default=80)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images")
    options = parser.parse_args(arguments)
    splits = load_splits(DatasetConfig(source=options.source, size=options.size))
    options.out.mkdir(parents=True, exist_ok=True)
    for name, part in (("train", splits.train), ("test", splits.test)):
        path = options.out / f"{name}.parquet"
        pack(part, path, options.quality)
        print(f"{path}: {len(part)} images, {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
