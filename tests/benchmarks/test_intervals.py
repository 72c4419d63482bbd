"""The script that remakes the recorded intervals reads what `lgd compare` leaves."""

from __future__ import annotations

import json
from math import sqrt
from pathlib import Path
from statistics import fmean, variance

import intervals
import pytest
from scipy.special import stdtrit

from lgd.evaluation.intervals import t_interval


def test_record_and_rows(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs of two methods, whose accuracies differ by known amounts, give the interval of their means."""
    for method, lead in (("dit", 0.0), ("lgd", 1.0)):
        for seed in (0, 1):
            metrics = json.loads((finished / "metrics.json").read_text())
            metrics |= {"method": method, "seed": seed}
            for row in metrics["increments"]:
                for cell in row["architectures"].values():
                    cell["values"] = [value + lead * (seed + 1) for value in cell["values"]]
            folder = tmp_path / "compared" / f"{method}-seed{seed}"
            folder.mkdir(parents=True)
            (folder / "metrics.json").write_text(json.dumps(metrics))
    monkeypatch.setattr(intervals, "HERE", tmp_path)
    (tmp_path / "records").mkdir()
    intervals.record("tiny", tmp_path / "compared", "lgd compare ...", "a machine")
    recorded = json.loads((tmp_path / "records" / "tiny.json").read_text())
    header, *rows = intervals.difference_rows(recorded["methods"], "lgd")
    low, high = t_interval([1.0, 2.0]) or (0.0, 0.0)
    assert header == ["lgd minus", "architecture", "2 IPC", "4 IPC", "6 IPC"]
    assert rows == [["dit", "convnet", *[f"{fmean([1, 2]):+.1f} [{low:+.1f}, {high:+.1f}]"] * 3]]


def test_runs_of_different_numbers_have_welchs_interval() -> None:
    """Against its formula, computed step by step."""

    def runs(values: list[float]) -> list[dict[str, object]]:
        cells = [{"convnet": {"values": [value - 1, value + 1]}} for value in values]
        return [{"seed": i, "increments": [{"ipc": 5, "architectures": cell}]} for i, cell in enumerate(cells)]

    first, second = [52.0, 54.0, 53.5], [50.0, 49.0, 53.0, 51.0, 48.5]
    parts = [variance(values) / len(values) for values in (first, second)]
    freedom = sum(parts) ** 2 / sum(part**2 / (n - 1) for part, n in zip(parts, (3, 5), strict=True))
    half = float(stdtrit(freedom, 0.975)) * sqrt(sum(parts))
    lead = fmean(first) - fmean(second)
    metrics = {"lgd": runs(first), "random": runs(second)}
    _, row = intervals.difference_rows(metrics, "lgd", paired=False)
    assert row == ["random", "convnet", f"{lead:+.1f} [{lead - half:+.1f}, {lead + half:+.1f}]"]
    (table,) = intervals.difference_tables(metrics, "x", paired=False)
    assert row[-1] in table


def test_quoted_intervals_are_those_of_the_record() -> None:
    """README quotes intervals.md."""
    root = Path(__file__).parents[2]
    recorded = json.loads((root / "benchmarks" / "records" / "digits-demo.json").read_text())
    _, *rows = intervals.difference_rows(recorded["methods"], "lgd")
    quoted = " ".join((root / "README.md").read_text().split())
    for method, cell in ((row[0], row[-1]) for row in rows if row[0] in ("dit", "random")):
        low, high = (float(text) for text in cell.split("[")[1].rstrip("]").split(","))
        assert f"{low:.1f} to {high:.1f}" in quoted, method
    for name, method, against, architecture in (
        ("cifar10", "lgd-anchored-easiest", "random", "convnet"),
        ("cifar10", "lgd-anchored-easiest", "random", "networks:resnet18_quarter"),
        ("cifar10", "lgd-anchored-easiest", "herding", "convnet"),
        ("cifar10", "lgd-anchored-easiest", "herding", "networks:resnet18_quarter"),
        ("cifar10", "lgd", "random", "convnet"),
        ("cifar10", "lgd", "random", "networks:resnet18_quarter"),
        ("cifar10", "lgd", "herding", "convnet"),
        ("cifar10", "lgd", "herding", "networks:resnet18_quarter"),
        ("cifar10", "lgd-real-easiest", "random", "convnet"),
        ("cifar10", "lgd-real-easiest", "random", "networks:resnet18_quarter"),
        ("cifar10", "lgd-real-easiest", "herding", "convnet"),
        ("cifar10", "lgd-real-easiest", "herding", "networks:resnet18_quarter"),
        ("tiny-imagenet-10-validated", "lgd-anchored-easiest", "random", "convnet"),
        ("tiny-imagenet-10-validated", "lgd-anchored-easiest", "random", "networks:resnet18_quarter"),
        ("imagenette-validated", "lgd-anchored-easiest", "random", "convnet"),
        ("imagenette-validated", "lgd-anchored-easiest", "random", "networks:resnet18_quarter"),
        ("imagenette-validated", "lgd-anchored-easiest", "herding", "convnet"),
        ("imagenette-validated", "lgd-anchored-easiest", "herding", "networks:resnet18_quarter"),
        ("imagenette-validated", "lgd-anchored-easiest", "dit", "convnet"),
        ("imagenette-validated", "lgd-anchored-easiest", "dit", "networks:resnet18_quarter"),
        ("imagenette-seed-sets", "lgd-anchored-easiest", "random", "convnet"),
        ("imagenette-seed-sets", "lgd-anchored-easiest", "random", "networks:resnet18_quarter"),
        ("imagenette", "lgd", "dit", "resnet18"),
        ("imagenette", "lgd", "random", "resnet18"),
        ("imagenette", "lgd-real-easiest", "herding", "resnet18"),
    ):
        recorded = json.loads((root / "benchmarks" / "records" / f"{name}.json").read_text())
        several = {own: runs for own, runs in recorded["methods"].items() if len(runs) > 1}
        rows = list(intervals.difference_rows(several, method, recorded.get("paired", True)))
        cells = {tuple(row[:2]): row[-1] for row in rows}
        low, high = (float(text) for text in cells[against, architecture].split("[")[1].rstrip("]").split(","))
        assert f"{low:.1f} to {high:.1f}" in quoted, (name, method, against)
        if name == "cifar10" and method == "lgd-anchored-easiest":  # README quotes its seed set, too
            seed_sets = {tuple(row[:2]): row[2] for row in rows}
            low, high = (float(text) for text in seed_sets[against, architecture].split("[")[1].rstrip("]").split(","))
            assert f"{low:.1f} to {high:.1f}" in quoted, (name, "seed set", against)
    assert "## digits" in (root / "benchmarks" / "intervals.md").read_text()
