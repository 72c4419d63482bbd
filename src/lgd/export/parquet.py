"""Parquet files with an image column, for `datasets`."""

from pathlib import Path
from typing import Any

from lgd.distillation.layout import COLUMNS
from lgd.errors import imported

from .samples import Advance, Export, shards

LIBRARIES = ("datasets", "pyarrow", "pyarrow.parquet")


def write_parquet(export: Export, root: Path, advance: Advance) -> str:
    """Write data/train-*.parquet with an image column as `datasets` defines it. Errors: UserError without the extra."""
    datasets, pa, pq = (imported(name, "parquet needs") for name in LIBRARIES)
    columns = {"image": datasets.Image(), **columns_of(export)}
    schema = datasets.Features(columns).arrow_schema
    files = shards(export)
    for number, (start, shard) in enumerate(files):
        rows = []
        for place, sample in enumerate(shard, start):
            rows.append({"image": {"bytes": sample.path.read_bytes(), "path": sample.file}, **row_of(export, place)})
            advance()
        path = root / "data" / f"train-{number:05d}-of-{len(files):05d}.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return f'`datasets.load_dataset("PATH")`: columns {", ".join(columns)}.'


def columns_of(export: Export) -> dict[str, Any]:
    """Return the columns beside the image, with their types in `datasets`."""
    import datasets

    columns = {
        "label": datasets.ClassLabel(names=list(export.class_names)),
        "class_name": datasets.Value("string"),
        "increment": datasets.Value("int32"),
        "slot": datasets.Value("int32"),
        "score": datasets.Value("float64"),
        "sha256": datasets.Value("string"),
    }
    return columns if export.logits is None else {**columns, "logits": datasets.Sequence(datasets.Value("float32"))}


def row_of(export: Export, place: int) -> dict[str, Any]:
    sample = export.samples[place]
    row = {name: getattr(sample, name) for name in COLUMNS[1:]}
    return row if export.logits is None else {**row, "logits": export.logits[place].tolist()}
