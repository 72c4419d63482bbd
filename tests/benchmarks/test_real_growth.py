"""The images that `real_growth.py` measures with."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from real_growth import write_images


def test_each_class_is_split_into_as_many_parts(tmp_path: Path) -> None:
    """Two classes become six: every new class lies within an old one, and all have images."""
    labels = [0, 0, 0, 1, 1, 1] * 4
    pq.write_table(pa.table({"label": labels}), tmp_path / "before.parquet")
    write_images(tmp_path / "before.parquet", tmp_path / "after.parquet", 12, 6)
    after = pq.read_table(tmp_path / "after.parquet")["label"].to_pylist()
    assert after == [0, 1, 2, 3, 4, 5] * 2
