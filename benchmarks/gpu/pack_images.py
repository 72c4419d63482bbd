"""Pack the training images of a source into one small file, for a machine without them.

    python benchmarks/gpu/pack_images.py parquet:TRAIN,TEST [--size 160] [--quality 75] [--out PACKED]

PACKED is benchmarks/gpu/images.safetensors by default, which git ignores. Images are read as lgd reads them, at `size`
pixels, and stored as WebP. ImageNette's 9,469 take 42 MB by default.
"""

from __future__ import annotations

import argparse
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from lgd.config import DatasetConfig
from lgd.data.imageset import ImageSet
from lgd.data.splits import load_splits
from lgd.storage.files import load_tensors_and_metadata, save_tensors

CHUNK = 256
"""images read at once"""


def pack(images: ImageSet, path: Path, quality: int) -> None:
    """Write images as WebP, one after another, with where each ends, labels, and names of classes."""
    encoded = []
    for pixels in images.stream(torch.arange(len(images)).split(CHUNK)):
        for image in pixels.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy():
            file = io.BytesIO()
            Image.fromarray(image).save(file, "WEBP", quality=quality)
            encoded.append(np.frombuffer(file.getvalue(), np.uint8))
    tensors = {
        "bytes": torch.from_numpy(np.concatenate(encoded)),
        "ends": torch.tensor([len(one) for one in encoded]).cumsum(0),
        "labels": images.labels,
    }
    save_tensors(path, tensors, {f"{number:06}": name for number, name in enumerate(images.class_names)})


def unpack(path: Path) -> ImageSet:
    """Read what `pack` wrote, decoded on all cores."""
    tensors, names = load_tensors_and_metadata(path)
    whole, ends = tensors["bytes"].numpy(), [0, *tensors["ends"].tolist()]

    def decode(number: int) -> np.ndarray:
        with Image.open(io.BytesIO(whole[ends[number] : ends[number + 1]].tobytes()), formats=("WEBP",)) as image:
            return np.asarray(image.convert("RGB"))

    with ThreadPoolExecutor() as pool:
        pixels = np.stack(list(pool.map(decode, range(len(ends) - 1))))
    return ImageSet(
        torch.from_numpy(pixels).permute(0, 3, 1, 2), tensors["labels"], tuple(names[key] for key in sorted(names))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--quality", type=int, default=75)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images.safetensors")
    options = parser.parse_args()
    images = load_splits(DatasetConfig(source=options.source, size=options.size)).train
    pack(images, options.out, options.quality)
    print(f"{options.out}: {len(images)} images, {options.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
