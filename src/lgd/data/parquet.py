"""Parquet files as a source; their names, or a column, say which are the training part and which the test part."""

import glob
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote

import torch
from torch import Tensor

from lgd.config import DatasetConfig
from lgd.errors import UserError, first_line, imported

from .image_folder import train_and_test
from .part_names import FILLING, Role, part_among, part_of, words_of
from .parts import Listing, listing_of
from .stores import Encoded
from .table import Piece, Table, as_table

LARGEST = 2**30
"""bytes of Parquet files that are held in memory; larger ones are unpacked by `datasets` and mapped"""
SUFFIXES = (".parquet", ".pq", ".parq")
SPLIT_KEYS = frozenset({"split", "subset", "partition", "part", "set", "phase", "usage", "fold"})
"""names of columns, and of folders NAME=VALUE, that say which part a row belongs to"""


@dataclass(frozen=True)
class TableFile:
    """A Parquet file and what its place in a folder says."""

    path: Path
    role: Role | None
    config: str
    """of several sets in one folder: folders that are neither parts nor values"""
    constants: Mapping[str, str]
    """values of columns by folders NAME=VALUE, but of the part"""


@dataclass(frozen=True)
class PartFiles:
    """The files of one part."""

    where: str
    files: tuple[TableFile, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chosen:
    """Some of the encoded images of a table."""

    files: Encoded
    rows: Tensor
    """int64 (N,)"""

    def name(self, index: int) -> str:
        return self.files.name(int(self.rows[index]))

    def open(self, index: int) -> BinaryIO:
        return self.files.open(int(self.rows[index]))


def find_tables(paths: str, config: DatasetConfig) -> Sequence[Listing]:
    """List TRAIN,TEST; or the parts among the files of a folder or pattern; or those that a column tells apart."""
    if "," in paths and not Path(paths).expanduser().exists():
        parts = [all_files(path) for path in train_and_test(paths)]
    else:
        parts = divide(paths)
    pieces = [read_pieces(part) for part in parts]
    tables = [as_table(some, config) for some in pieces]
    if len(parts) == 1 and (rows := rows_by_part(pieces[0])):
        return by_column(parts[0], tables[0], rows)
    return [
        listing_of(part.where, table.rows, table.labels, table.names, key_of(part, table), part.notes)
        for part, table in zip(parts, tables, strict=True)
    ]


def by_column(part: PartFiles, table: Table, rows: dict[Role | None, Tensor]) -> Sequence[Listing]:
    """The training part and the test part of one table, by the rows of each part."""
    used: list[Role] = ["train", "test" if "test" in rows else "validation"]
    left_out = sum(len(some) for role, some in rows.items() if role not in used)
    note = f"{part.where}: rows of the parts {' and '.join(used)} are read; left out: {left_out} rows"
    listings = []
    for role in used:
        files, labels = Chosen(table.rows, rows[role]), table.labels[rows[role]]
        key = f"{key_of(part, table)} {role}"
        listings.append(listing_of(f"{part.where}, {role}", files, labels, table.names, key))
    return [replace(listings[0], notes=(*part.notes, note) if left_out else part.notes), listings[1]]


def rows_by_part(pieces: Sequence[Piece]) -> dict[Role | None, Tensor]:
    """Find the rows of each part where a column such as `split` names a training and a test part; empty otherwise."""
    name = next((name for name in pieces[0].table.schema.names if name.lower() in SPLIT_KEYS), None)
    if name is None or any(name not in piece.table.schema.names for piece in pieces):
        return {}
    values = [str(value) for piece in pieces for value in piece.table[name].to_pylist()]
    roles = {value: part_of(value) or part_among(value) for value in set(values)}
    rows: dict[Role | None, list[int]] = {}
    for row, value in enumerate(values):
        rows.setdefault(roles[value], []).append(row)
    if "train" not in rows or not {"test", "validation"} & set(rows):
        return {}
    return {role: torch.tensor(some) for role, some in rows.items()}


def key_of(part: PartFiles, table: Table) -> str:
    """Changes with the files and the columns."""
    stats = [(str(file.path.resolve()), file.path.stat()) for file in part.files]
    return repr([(name, one.st_size, one.st_mtime_ns) for name, one in stats]) + f" {table.columns}"


def read_pieces(part: PartFiles) -> list[Piece]:
    """Read the tables of a part. Errors: UserError naming a file that cannot be read."""
    imported("pyarrow", "Parquet files need")
    paths = [file.path for file in part.files]
    large = sum(path.stat().st_size for path in paths if path.exists()) > LARGEST
    return [Piece(read_table(file.path, large), str(file.path), file.constants) for file in part.files]


def read_table(path: Path, large: bool) -> Any:
    """Read a pyarrow.Table, mapped from a copy on disk where it is large. Errors: UserError."""
    import pyarrow
    from pyarrow import parquet

    try:
        if not large:
            return parquet.read_table(path, partitioning=None)
        return imported("datasets", "large Parquet files need").Dataset.from_parquet(str(path)).data.table
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as Parquet: {first_line(error)}") from None


def divide(text: str) -> list[PartFiles]:
    """Return the training and test part among the files of a path or pattern, or all. Errors: UserError."""
    found, notes = table_files(text)
    if not has_magic(text):
        found, more = one_config(text, found)
        notes += more
    parts: dict[Role | None, list[TableFile]] = {}
    for file in found:
        parts.setdefault(file.role, []).append(file)
    if len(parts) == 1:
        return [PartFiles(text, tuple(found), tuple(notes))]
    if "train" not in parts:
        first = min(role for role in parts if role)
        raise UserError(
            f"{text}: {parts[first][0].path.name} is a {first} part by its name, but no file is the training part;"
            " give both: parquet:TRAIN,TEST"
        )
    order: tuple[Role, ...] = ("train", "test", "validation")
    used = [role for role in order if role in parts][:2]
    left_out = [f"{len(files)} {role or 'other'}" for role, files in parts.items() if role not in used]
    if left_out:
        notes.append(f"{text}: {' and '.join(used)} files are read; left out: {', '.join(left_out)}")
    return [PartFiles(f"{text}, {role}", tuple(parts[role]), tuple(notes) * (role == "train")) for role in used]


def all_files(text: str) -> PartFiles:
    """The files of a path or pattern that is one part. Errors: UserError where they are of several."""
    found, notes = table_files(text)
    roles = {file.role for file in found} - {None}
    if len(roles) > 1:
        raise UserError(f"{text}: it holds the parts {' and '.join(sorted(map(str, roles)))}; give a pattern for each")
    return PartFiles(text, tuple(found), tuple(notes))


def table_files(text: str) -> tuple[list[TableFile], list[str]]:
    """The Parquet files of a file, folder or pattern, with messages about other files. Errors: UserError."""
    path = Path(text).expanduser()
    if path.is_dir():
        base, paths = path, sorted(one for one in path.rglob("*") if one.is_file())
        shown = [one for one in paths if not any(part[0] in "._" for part in one.relative_to(base).parts)]
        tables = [one for one in shown if one.suffix.lower() in SUFFIXES]
        if not tables:
            raise UserError(f"{path}: no *.parquet files in it")
        others = Counter(one.suffix.lower() or "without a suffix" for one in shown if one not in set(tables))
        kinds = ", ".join(f"{count} {kind}" for kind, count in others.most_common())
        return [described(one, base) for one in tables], [f"{path}: files left out: {kinds}"] if others else []
    if path.exists() or not has_magic(text):
        return [TableFile(path, None, "", {})], []
    depth = next(i for i, part in enumerate(path.parts) if glob.has_magic(part))
    base, pattern = Path(*path.parts[:depth]), str(Path(*path.parts[depth:]))
    matches = sorted(one for one in base.glob(pattern) if one.is_file() and one.name[0] not in "._")
    if not matches:
        raise UserError(f"{text}: no file matches")
    return [described(one, base) for one in matches], []


def has_magic(text: str) -> bool:
    return glob.has_magic(text) and not Path(text).expanduser().exists()


def described(path: Path, base: Path) -> TableFile:
    """Read the part, the set and the values from a file's name and its folders below `base`."""
    role, constants, config = part_among(path.stem), {}, []
    for folder in reversed(path.relative_to(base).parts[:-1]):
        name, equals, value = folder.partition("=")
        of_folder = part_of(value or name) or part_among(value or name)
        if equals and name.lower() in SPLIT_KEYS:
            role = role or of_folder
        elif equals:
            constants[name] = unquote(value)
        elif of_folder:
            role = role or of_folder
        elif set(words_of(folder)) - FILLING:
            config.append(folder)
    return TableFile(path, role, "/".join(reversed(config)), constants)


def one_config(text: str, files: Sequence[TableFile]) -> tuple[list[TableFile], list[str]]:
    """The files of the one set in a folder, or of the one that is not in a folder of its own. Errors: UserError."""
    configs = Counter(file.config for file in files)
    if len(configs) == 1:
        return list(files), []
    if "" not in configs:
        names = sorted(configs)
        raise UserError(f"{text}: several sets in it: {', '.join(names)}; name one: parquet:{Path(text) / names[0]}")
    left_out = ", ".join(f"{count} in {config}" for config, count in configs.items() if config)
    return [file for file in files if not file.config], [f"{text}: Parquet files left out: {left_out}"]
