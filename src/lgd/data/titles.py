"""What an image set is called in a title, where the paths of a machine do not belong."""

from __future__ import annotations

from pathlib import Path

from .tree import JUDGING

PARTS = ("train", *JUDGING)


def title_of(source: str) -> str:
    """Of `digits` and of the Hub its name, else that of the folder or file.

    A name that only says which part it is, such as train.parquet or train-00000-of-00001.parquet, gives way to its
    folder's. Where nothing is left, the source.
    """
    kind, colon, rest = source.partition(":")
    if not colon or kind == "hf":
        return rest or source
    path = Path(rest.split(",")[0])
    name = path.name.removesuffix(".parquet")
    part = name.lower().partition("-")[0] if kind == "parquet" else name.lower()
    return (path.parent.name if part in PARTS else name) or source
