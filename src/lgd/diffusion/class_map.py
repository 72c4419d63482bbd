"""The map from the classes of an image set to the class ids of a generator."""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn

from lgd.config import LARGEST_TOML
from lgd.errors import UserError
from lgd.storage.files import read_limited

SHOWN = 5
"""classes that an error message lists"""


@dataclass(frozen=True)
class Vocabulary:
    """The names of a generator's classes."""

    where: str
    """the generator, for error messages"""
    size: int
    """ids run from 0 to size - 1"""
    exact: Mapping[str, frozenset[int]] = field(default_factory=dict)
    """every name with the ids that bear it: "crane" is a bird and a machine"""
    loose: Mapping[str, frozenset[int]] = field(default_factory=dict)
    """the same for what `plain` makes of the names"""
    has_null: bool = True
    """whether there is a null class beside them, for classifier-free guidance"""

    def find(self, name: str) -> int | None:
        """Return the id of a class by its name or WordNet id, None for an unknown one. Errors: UserError."""
        found = self.exact.get(name) or self.loose.get(plain(name), frozenset())
        if len(found) > 1:
            ids = ", ".join(map(str, sorted(found)))
            raise UserError(
                f"class {name!r} is the name of {len(found)} classes of {self.where}: {ids};"
                " give its id in generator.class_map"
            )
        return next(iter(found), None)

    def unknown(self, names: Sequence[str]) -> NoReturn:
        """Errors: UserError that names them."""
        raise UserError(
            f"{listed(names)} unknown to {self.where}: map every class in a TOML table [classes] and give its file"
            " as generator.class_map"
        )


def plain(name: str) -> str:
    """Without case, and with one space for every run of spaces, underscores and hyphens."""
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def vocabulary(where: str, size: int, names: Iterable[tuple[str, int]]) -> Vocabulary:
    """Build a vocabulary from pairs of name and id; a name may come with several ids, and an id with several names."""
    pairs = list(names)
    return Vocabulary(where, size, _gather(pairs), _gather([(plain(name), number) for name, number in pairs]))


def _gather(pairs: Iterable[tuple[str, int]]) -> dict[str, frozenset[int]]:
    found: dict[str, frozenset[int]] = {}
    for name, number in pairs:
        found[name] = found.get(name, frozenset()) | {number}
    return found


def pipeline_vocabulary(where: str, size: int, id2label: Mapping[str, str] | None) -> Vocabulary:
    """Build the vocabulary of a DiTPipeline's `id2label`, whose labels are names, or lists of names with commas.

    Where these are ImageNet's, the classes are known by their WordNet ids as well.
    """
    words = [
        (word, int(number))
        for number, label in (id2label or {}).items()
        for word in dict.fromkeys([label, *map(str.strip, label.split(","))])
    ]
    wordnet = enumerate(imagenet_labels()) if is_imagenet(size, id2label) else ()
    return vocabulary(where, size, [*words, *((wnid, number) for number, wnid in wordnet)])


def is_imagenet(size: int, id2label: Mapping[str, str] | None) -> bool:
    """Whether 1000 classes are ImageNet's in its order: from the tench to toilet tissue."""
    ends = [(id2label or {}).get(number, "") for number in ("0", "999")]
    return size == 1000 and "tench" in ends[0] and "toilet tissue" in ends[1]


@cache
def imagenet_labels() -> dict[str, str]:
    """Return the words of each of ImageNet's 1000 classes, separated by commas, by WordNet id, in their order."""
    lines = resources.files(__package__).joinpath("imagenet.txt").read_text("utf-8").splitlines()
    return dict(line.split(" ", 1) for line in lines)


def map_classes(class_names: Sequence[str], known: Vocabulary, table: Mapping[str, int | str]) -> tuple[int, ...]:
    """Return the generator's id of each class, by the table or its own name. Errors: UserError naming classes."""
    ids = [resolve(table.get(name, name), known) for name in class_names]
    unmapped = [name for name, number in zip(class_names, ids, strict=True) if number is None]
    if unmapped:
        known.unknown(unmapped)
    found = [number for number in ids if number is not None]
    for number in found:
        same = [name for name, other in zip(class_names, found, strict=True) if other == number]
        if len(same) > 1:
            raise UserError(f"{listed(same)} mapped to one class of {known.where}, {number}")
    return tuple(found)


def resolve(value: int | str, known: Vocabulary) -> int | None:
    """An id as it is, or the id of a name. Errors: UserError for an id that is not there."""
    if isinstance(value, str):
        return known.find(value)
    if not 0 <= value < known.size:
        raise UserError(f"generator.class_map: {known.where} has no class {value}, only 0 to {known.size - 1}")
    return value


def listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more are" if len(names) > SHOWN else " is" if len(names) == 1 else " are"
    return f"class{'es' if len(names) > 1 else ''} {', '.join(map(repr, names[:SHOWN]))}{more}"


def read_table(path: str, class_names: Sequence[str]) -> dict[str, int | str]:
    """The table [classes] of a TOML file; no path, no entries. Errors: UserError naming the file and the entry."""
    table = read_class_table("generator.class_map", path, "classes", class_names)
    for name, value in table.items():
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise UserError(f"generator.class_map: {path}: {name!r} must be mapped to an id or a name, not {value!r}")
    return table


def read_class_table(field: str, path: str, title: str, class_names: Sequence[str]) -> dict[str, Any]:
    """Read the table `title` of a TOML file, whose keys are classes; no path, no entries.

    field: of the configuration that names the file. Errors: UserError naming the file, and an entry of no class.
    """
    if not path:
        return {}
    try:
        table = tomllib.loads(read_limited(Path(path), LARGEST_TOML)).get(title)
    except UserError as error:
        raise UserError(f"{field}: {error}") from None
    except (ValueError, RecursionError) as error:  # also of numbers with too many digits
        raise UserError(f"{field}: {path}: not TOML: {error}") from None
    if not isinstance(table, dict):
        raise UserError(f"{field}: {path}: needs a table [{title}]")
    if unknown := [name for name in table if name not in class_names]:
        raise UserError(f"{field}: {path}: {unknown[0]!r} is not a class of the image set")
    return table
