"""Parquet files with an image column, for `datasets`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lgd.errors import UserError

from .samples import Advance, Export, shards


def write_parquet(export: Export, root: Path, advance: Advance) -> str:
    """Write data/train-*.parquet with an image column as `datasets` defines it. Errors: UserError without the extra."""
    try:
        import datasets
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise UserError("parquet needs the extra hf: pip install 'lgd[hf]'") from None
    logits = export.logits
    columns: dict[str, Any] = {
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=list(export.class_names)),
        "increment": datasets.Value("int32"),
        "score": datasets.Value("float64"),
    }
    if logits is not None:
        columns["logits"] = datasets.Sequence(datasets.Value("float32"))
    schema = datasets.Features(columns).arrow_schema
    files = shards(export)
    for number, (start, shard) in enumerate(files):
        rows = []
        for i, sample in enumerate(shard, start):
            image = {"bytes": sample.path.read_bytes(), "path": sample.file}
            row = {"image": image, "label": sample.label, "increment": sample.increment, "score": sample.score}
            rows.append(row if logits is None else {**row, "logits": logits[i].tolist()})
            advance()
        path = root / "data" / f"train-{number:05d}-of-{len(files):05d}.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return '`datasets.load_dataset("PATH")`: columns image, label, increment and score.'
