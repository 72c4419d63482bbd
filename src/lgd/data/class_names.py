"""Which classes of a set are used, and in which order."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from lgd.errors import UserError, nearest
from lgd.storage.files import read_limited

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_LIST = 2**20  # bytes
MANY = 50  # classes that an error message does not list


def class_lists() -> dict[str, Path]:
    return {path.stem: path for path in sorted(Path(__file__).with_name("classes").glob("*.txt"))}


def wanted_classes(chosen: Sequence[str]) -> tuple[str, ...]:
    """Read the names that `dataset.classes` stands for: itself, or one list or file. Errors: UserError."""
    return tuple(read_list(chosen[0])) if len(chosen) == 1 else tuple(chosen)


def read_list(name: str) -> list[str]:
    path = class_lists().get(name, Path(name).expanduser())
    try:
        lines = [line.strip() for line in read_limited(path, LARGEST_LIST).splitlines()]
    except UserError as error:
        known = ", ".join(class_lists())
        raise UserError(f"dataset.classes: one entry names a list ({known}) or a file: {error}") from None
    return [line for line in lines if line and not line.startswith("#")]


def composed(name: str) -> str:
    """Normalise a name's Unicode (NFC): systems write letters with accents as one character or as two."""
    return unicodedata.normalize("NFC", name)


def plain_name(name: str) -> str:
    """The class that the name of a folder stands for: percent-decoded, as exports encode it, and composed."""
    try:
        decoded = composed(unquote(name, errors="strict"))
    except UnicodeDecodeError:
        return composed(name)
    return decoded if decoded.isprintable() and decoded.strip() else composed(name)


def canonical(names: Iterable[str]) -> tuple[str, ...]:
    """Order class names by their characters, as they are ordered inside, whatever order their labels have outside."""
    return tuple(sorted(names))


def places(names: Sequence[str], among: Sequence[str], where: object) -> Tensor:
    """Return the position of each of `names` `among` the same names. Errors: UserError naming the file `where`."""
    import torch

    if odd := sorted(set(names) ^ set(among)):
        has, lacks = ("asked for", "there") if odd[0] in names else ("there", "asked for")
        raise UserError(f"{where}: knows other classes: {odd[0]!r} is {has}, but not {lacks}")
    place = {name: i for i, name in enumerate(among)}
    return torch.tensor([place[name] for name in names], dtype=torch.long)


def pick(there: Sequence[str], wanted: Sequence[str], where: str) -> tuple[str, ...]:
    """Return the wanted classes, or all where none is wanted. Errors: UserError for one that is not there, or alone."""
    known = set(there)
    names = tuple(name if name in known else plain_name(name) for name in wanted) or tuple(there)
    for i, name in enumerate(names):
        if name not in known:
            raise UserError(f"{where}: no class {name!r}{nearest(name, there) if len(there) < MANY else ''}")
        if name in names[:i]:
            raise UserError(f"dataset.classes: {name!r} comes twice")
    if len(names) < 2:
        raise UserError(
            f"{where}: {'only the class ' + repr(names[0]) if names else 'no class'}; it takes two at least"
        )
    return names
