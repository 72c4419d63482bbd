"""Class labels from the columns of tables: whole numbers, text, categories and truth values, in one file or several."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lgd.errors import UserError

from .class_names import composed


@dataclass(frozen=True)
class LabelColumn:
    """A column of labels in one file."""

    values: Any
    """pyarrow.ChunkedArray"""
    names: tuple[str, ...] | None
    """that `datasets` wrote for the numbers 0, 1, ..."""
    where: str


def class_labels(columns: Sequence[LabelColumn]) -> tuple[Tensor, tuple[str, ...]]:
    """Labels (N,) of all files and the class names they stand for; -1 where there is none.

    Names that no file gives are the sorted values. Errors: UserError for values that are neither text nor whole
    numbers, and for files that number the classes differently.
    """
    import pyarrow
    from pyarrow import compute

    first = columns[0]
    plain = [plain_values(column.values, column.where) for column in columns]
    for column, values in zip(columns, plain, strict=True):
        if column.names != first.names or values.type != plain[0].type:
            raise UserError(f"{column.where}: other kinds or names of classes than in {first.where}")
    values = pyarrow.chunked_array([chunk for one in plain for chunk in one.chunks], plain[0].type)
    if first.names is not None and values.type == pyarrow.int64():
        numbers = torch.from_numpy(compute.fill_null(values, -1).to_numpy().copy())
        labels, names = torch.where((numbers >= 0) & (numbers < len(first.names)), numbers, -1), first.names
    else:
        ordered = sorted(value for value in compute.unique(values).to_pylist() if value is not None)
        place = compute.index_in(values, value_set=pyarrow.array(ordered, values.type))
        labels = torch.from_numpy(compute.fill_null(place, -1).to_numpy().astype("int64"))
        names = tuple(str(value) for value in ordered)
    return joined(labels, names)


def joined(labels: Tensor, names: Sequence[str]) -> tuple[Tensor, tuple[str, ...]]:
    """Give names that are the same in normalised Unicode one label."""
    plain = [composed(name) for name in names]
    unique = tuple(dict.fromkeys(plain))
    if len(unique) == len(names):
        return labels, unique
    new = torch.tensor([unique.index(name) for name in plain] + [-1])  # the last one for the label -1
    return new[labels], unique


def plain_values(values: Any, where: str) -> Any:
    """Labels as int64 or text, whatever width or encoding they are stored in. Errors: UserError."""
    import pyarrow
    from pyarrow import compute, types

    if types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    kind = values.type
    try:
        if types.is_boolean(kind):
            return compute.if_else(values, "True", "False").cast(pyarrow.large_string())
        if types.is_integer(kind):
            return values.cast(pyarrow.int64())
        if types.is_floating(kind):  # as pandas stores whole numbers of which some are missing
            return compute.if_else(compute.is_nan(values), None, values).cast(pyarrow.int64())
        if is_text(kind) or is_bytes(kind):
            return values.cast(pyarrow.large_string())
    except pyarrow.ArrowException:
        pass
    raise UserError(f"{where}: labels are whole numbers or text, not {kind}")


def is_text(kind: Any) -> bool:
    return str(kind) in ("string", "large_string", "string_view")


def is_bytes(kind: Any) -> bool:
    return str(kind) in ("binary", "large_binary", "binary_view") or str(kind).startswith("fixed_size_binary")
