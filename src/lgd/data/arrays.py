"""Arrays of images as a source: NumPy archives, written by the user or, of images in memory, into the cache."""

import zipfile
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from lgd.config import DatasetConfig
from lgd.errors import UserError
from lgd.storage.files import write_stream

from .cache import cache_folder
from .given import labels_of, pixels_of
from .imageset import ImageSet
from .parts import Listing, listing_of

PARTS = ("train", "test")


def find_arrays(text: str, config: DatasetConfig) -> Sequence[Listing]:
    """List the parts of an archive: FILE.npz, or the digest of a set in the cache.

    The archive holds train_images, train_labels and, if it is divided, test_images and test_labels, as MedMNIST's do;
    class_names names the numbers 0, 1, ... Errors: UserError.
    """
    path = Path(text).expanduser() if text.endswith(".npz") else cached_file(text)
    arrays = read_archive(path, text)
    names: Sequence[str] = [str(name) for name in arrays.get("class_names", ())]
    listings = []
    for part in PARTS:
        if f"{part}_images" not in arrays:
            continue
        where = f"arrays:{text}, {part}"
        try:
            pixels = pixels_of(arrays[f"{part}_images"])
            labels, names = labels_of(arrays[f"{part}_labels"], len(pixels), names)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        listings.append(listing_of(where, pixels, labels, names))
    return listings


def read_archive(path: Path, text: str) -> Mapping[str, Any]:
    """Read the arrays of a file, of which none may hold objects. Errors: UserError."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files if not name.startswith("val_")}
    except FileNotFoundError:
        missing = "" if text.endswith(".npz") else "; call the function again with the same images to write it"
        raise UserError(f"arrays:{text}: no such file: {path}{missing}") from None
    except (OSError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile):
        raise UserError(f"{path}: not an archive of numbers and text, as np.savez writes it") from None
    for name in ("train_images", "train_labels", *(["test_labels"] if "test_images" in arrays else [])):
        if name not in arrays:
            raise UserError(f"{path}: no array {name!r}; it has {', '.join(arrays) or 'none'}")
    return arrays


def cached_file(digest: str) -> Path:
    return cache_folder() / "sets" / f"{Path(digest).name}.npz"


def write_arrays(train: ImageSet, test: ImageSet | None = None) -> str:
    """Write a set into the cache, unless it is there, and return its `dataset.source`.

    The source is arrays:DIGEST, by the content: the same images, labels and class names give the same source on every
    machine, so that a run of them resumes, and worker processes read them as they read any source.
    """
    arrays: dict[str, np.ndarray] = {"class_names": np.array(train.class_names)}
    for part, images in zip(PARTS, (train, test), strict=True):
        if images is not None:
            arrays[f"{part}_images"] = images.images.cpu().permute(0, 2, 3, 1).contiguous().numpy()
            arrays[f"{part}_labels"] = images.labels.numpy()
    digest = blake2b(digest_size=16)
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    path = cached_file(digest.hexdigest())
    if not path.exists():
        write_stream(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]
    return f"arrays:{path.stem}"
