"""Names of image sets for titles, without paths of a machine."""

from pathlib import Path

from .part_names import part_among, part_of


def title_of(source: str) -> str:
    """Return the name of `digits` or of a set on the Hub, else that of the folder or file.

    A name that only says which part it is, such as train.parquet or train-00000-of-00001.parquet, gives way to its
    folder's. Where nothing is left, the source.
    """
    kind, colon, rest = source.partition(":")
    if not colon or kind == "hf":
        return rest or source
    path = Path(rest.split(",")[0])
    name = path.name.removesuffix(".parquet")
    part = part_of(name) or (kind == "parquet" and part_among(name))
    return (path.parent.name if part else name) or source
