"""The run directory's files."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lgd.distillation.store import Candidate, Row, image_file, read_manifest


def test_a_manifest_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    """It has `early_score`, of an option that was removed, for every candidate."""
    row = Row(image_file("a", 1, 0), "a", 0, 1, 0, 0, (Candidate(7, 0.5, 1.0, 0.5, True),), "0" * 64)
    values: dict[str, Any] = asdict(row)
    for candidate in values["candidates"]:
        candidate["early_score"] = None
    (tmp_path / "manifest.jsonl").write_text(json.dumps(values) + "\n")
    assert read_manifest(tmp_path) == [row]
