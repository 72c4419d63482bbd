"""Compare the pixels that lgd reads from a folder of images with those of an independent decoder, file by file.

    pip install pyvips-binary pyvips opencv-python-headless
    python benchmarks/decode_check.py FOLDER --decoder vips

Both decoders see the central square at its own size, RGB, eight bits. The independent one turns the image by its own
reading of EXIF. Results: decode-check.md. Neither package is needed by lgd.
"""

from __future__ import annotations

import argparse
import platform
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from lgd.data.decode import BrokenImageError, decode, header, open_image

CLOSE = 2
"""largest difference of a value, of 255, that counts as rounding"""


def by_vips(path: Path) -> np.ndarray:
    """uint8 (H, W, 3) by libvips: upright, transparency dropped, the upper eight of 16 bits."""
    import pyvips

    image = pyvips.Image.new_from_file(str(path), access="random").autorot()
    if image.interpretation == "cmyk":
        image = image.colourspace("srgb")
    return eight_bits(image.numpy())


def by_opencv(path: Path) -> np.ndarray:
    """uint8 (H, W, 3) by OpenCV, which turns the image where it drops transparency itself."""
    import cv2

    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH
    array = cv2.imdecode(np.fromfile(path, np.uint8), flags)
    if array is None:
        raise ValueError("not an image that OpenCV reads")
    return eight_bits(array)


DECODERS: dict[str, Callable[[Path], np.ndarray]] = {"vips": by_vips, "opencv": by_opencv}


def eight_bits(array: np.ndarray) -> np.ndarray:
    """RGB without alpha from (H, W) or (H, W, 1 to 4) of eight or 16 bits."""
    array = array[..., None] if array.ndim == 2 else array
    colours = array[..., :1].repeat(3, -1) if array.shape[-1] < 3 else array[..., :3]
    if array.dtype == np.uint16:
        return (colours >> 8).astype(np.uint8)
    if array.dtype != np.uint8:
        raise ValueError(f"values of {array.dtype}")
    return colours


def middle(array: np.ndarray, size: int) -> np.ndarray:
    """The square that `decode` cuts out, uint8 (3, size, size)."""
    top, left = (round((length - size) / 2) for length in array.shape[:2])
    return array[top : top + size, left : left + size].transpose(2, 0, 1)


def kind_of(path: Path) -> str:
    """Format and mode, such as PNG RGBA."""
    with path.open("rb") as file, open_image(file) as image:
        return f"{image.format} {image.mode}"


def compare(path: Path, other: Callable[[Path], np.ndarray]) -> tuple[str, str]:
    """(kind of file, outcome)"""
    try:
        kind = kind_of(path)
        with path.open("rb") as file:
            seen = header(file)
            size = min(seen.width, seen.height)
            ours = decode(file, 3, size)
    except BrokenImageError:
        kind, ours = "not read by lgd", None
    try:
        theirs = middle(other(path), size) if ours is not None else other(path)
    except Exception:  # whatever a decoder raises for a file that it does not read
        return kind, "by lgd alone" if ours is not None else "by neither"
    if ours is None:
        return kind, f"by the other alone ({path.suffix.lower()})"
    if ours.shape != theirs.shape:
        return kind, "another size"
    difference = int(np.abs(ours.astype(int) - theirs).max())
    return kind, "equal" if difference == 0 else f"within {CLOSE}" if difference <= CLOSE else "differs"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--decoder", choices=DECODERS, default="vips")
    parser.add_argument("--list", action="store_true", help="name the files that are not equal")
    options = parser.parse_args()
    outcomes: dict[str, Counter[str]] = {}
    for path in sorted(path for path in options.folder.rglob("*") if path.is_file()):
        kind, outcome = compare(path, DECODERS[options.decoder])
        outcomes.setdefault(kind, Counter())[outcome] += 1
        if options.list and outcome != "equal":
            print(f"{outcome}: {kind}: {path.relative_to(options.folder)}")
    print(f"{options.decoder}, Pillow {Image.__version__}, {platform.processor() or platform.machine()}")
    columns = sorted({outcome for counts in outcomes.values() for outcome in counts})
    print("| kind | " + " | ".join(columns) + " |\n|---|" + "---:|" * len(columns))
    for kind, counts in sorted(outcomes.items(), key=lambda item: -item[1].total()):
        print(f"| {kind} | " + " | ".join(str(counts[column] or "") for column in columns) + " |")
    total = sum(outcomes.values(), Counter())
    print("| all | " + " | ".join(str(total[column]) for column in columns) + " |")


if __name__ == "__main__":
    main()
