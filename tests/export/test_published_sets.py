"""The sets under benchmarks/sets are whole, and their pages say what their records say."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean

import pytest

import lgd
from lgd.export.record import stated_in
from lgd.storage.files import sha256

SETS = Path(__file__).parents[2] / "benchmarks" / "sets"


@pytest.mark.parametrize("folder", sorted(path.parent for path in SETS.glob("*/README.md")), ids=lambda path: path.name)
def test_a_published_set(folder: Path) -> None:
    data, stated = lgd.load(folder), stated_in(folder)
    per_class = int(folder.name.rpartition("-")[2])
    assert data.images.labels.bincount().tolist() == [per_class] * len(data.class_names)
    assert stated is not None
    listed = [line.split() for line in (folder / "README.md").read_text().splitlines() if line.startswith("    ")]
    checked = {name: digest for digest, name in (words for words in listed if len(words) == 2 and len(words[0]) == 64)}
    assert "accuracy.json" in checked
    assert all(sha256(folder / name) == digest for name, digest in checked.items())
    (values,) = stated.accuracy.values()
    row = next(line for line in (SETS / "README.md").read_text().splitlines() if f"`{folder.name}`" in line)
    assert f"{fmean(values):.1f}" in row
    assert json.loads((folder / "accuracy.json").read_text())["dataset"]["size"] == data.images.shape[-1]
