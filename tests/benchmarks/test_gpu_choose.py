"""The choice among settings that a comparison on a GPU has evaluated on validation images."""

from __future__ import annotations

import json
from pathlib import Path

import choose
import pytest


def written(out: Path, run: str, accuracies: dict[str, float], done: bool = True) -> None:
    """Write a sub-run as compare.py leaves it. accuracies: by cell."""
    folder = out / run / "evaluation"
    folder.mkdir(parents=True)
    for cell, accuracy in accuracies.items():
        (folder / f"accuracy-{cell}.json").write_text(json.dumps({"accuracy": accuracy}))
    if done:
        (out / run / "accuracies.done").touch()


def test_the_value_of_the_highest_mean_wins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for value, low, high in (("0.1", 50.0, 60.0), ("0.2", 52.0, 61.0), ("0.3", 55.0, 57.0)):
        written(tmp_path, f"guidance.strength={value}/lgd-seed0", {"convnet-05-0": low, "resnet-05-0": high})
    written(tmp_path, "guidance.strength=0.1/lgd-seed1", {"convnet-05-0": 99.0})  # not of all values
    written(tmp_path, "guidance.strength=0.3/dit-seed0", {"convnet-05-0": 99.0}, done=False)
    written(tmp_path, "modes.strength=1/mgd3-seed0", {"convnet-05-0": 40.0})
    written(tmp_path, "plain/lgd-seed0", {"convnet-05-0": 99.0})
    choose.main([str(tmp_path)])
    assert (tmp_path / "chosen.txt").read_text() == "guidance.strength=0.2 modes.strength=1\n"
    printed = capsys.readouterr().out
    assert "| guidance.strength | **0.2** | 56.50 | 1 | lgd 56.50 |" in printed
    assert "| guidance.strength | 0.1 | 55.00 | 1 | lgd 55.00 |" in printed


def test_values_without_a_common_sub_run_are_not_chosen_among(tmp_path: Path) -> None:
    written(tmp_path, "guidance.strength=0.1/lgd-seed0", {"convnet-05-0": 50.0})
    written(tmp_path, "guidance.strength=0.2/lgd-seed1", {"convnet-05-0": 60.0})
    choose.main([str(tmp_path)])
    assert (tmp_path / "chosen.txt").read_text() == "\n"
