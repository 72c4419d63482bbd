"""Which classes of a set are used, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from lgd.errors import UserError, nearest
from lgd.storage.files import read_limited

LARGEST_LIST = 2**20  # bytes
MANY = 50
"""classes that an error message does not list"""


def class_lists() -> dict[str, Path]:
    """The lists that come with the package, by name."""
    folder = Path(str(resources.files(__package__).joinpath("classes")))
    return {path.stem: path for path in sorted(folder.glob("*.txt"))}


def wanted_classes(chosen: Sequence[str]) -> tuple[str, ...]:
    """The names that `dataset.classes` stands for: themselves, or those in the one list or file it names.

    Errors: UserError for a file that cannot be read, and naming a class that comes twice.
    """
    names = tuple(read_list(chosen[0])) if len(chosen) == 1 else tuple(chosen)
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise UserError(f"dataset.classes: {twice!r} comes twice")
    return names


def read_list(name: str) -> list[str]:
    """The lines of a list file, but empty ones and comments (#)."""
    path = class_lists().get(name, Path(name).expanduser())
    try:
        lines = [line.strip() for line in read_limited(path, LARGEST_LIST).splitlines()]
    except UserError as error:
        known = ", ".join(class_lists())
        raise UserError(f"dataset.classes: one entry names a list ({known}) or a file: {error}") from None
    return [line for line in lines if line and not line.startswith("#")]


def pick(there: Sequence[str], wanted: Sequence[str], where: str) -> tuple[str, ...]:
    """`wanted`, or all where there is none. Errors: UserError naming a class that is not there, or the only class."""
    names = tuple(wanted or there)
    known = set(there)
    for name in names:
        if name not in known:
            raise UserError(f"{where}: no class {name!r}{nearest(name, there) if len(there) < MANY else ''}")
    if len(names) < 2:
        raise UserError(
            f"{where}: {'only the class ' + repr(names[0]) if names else 'no class'}; it takes two at least"
        )
    return names
