"""The text of tables, from metrics written by hand."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import pytest

from lgd.evaluation.aggregate import compare, reduction, redundancy, summarise
from lgd.evaluation.comparison_tables import overview, tables
from lgd.evaluation.tables import Table, comma_separated, latex, markdown, plus_minus, spread


def metrics(seed: int, offset: float, off: float = 60.0) -> dict[str, Any]:
    """A run of two classifiers. off: redundancy of a run with seed 0."""

    def cell(value: float) -> dict[str, Any]:
        return summarise([{"accuracy": value + d, "best": value + d + 1} for d in (-1.0, 1.0)])

    increments = [
        {
            "ipc": ipc,
            "accuracy": cell(40 + ipc + offset + seed),
            "architectures": {"convnet": cell(40 + ipc + offset + seed), "resnet18": cell(30 + ipc + offset)},
            "images": 10 * ipc,
            "validity": 90.0,
            "reference_validity": 95.0,
        }
        for ipc in (2, 10)
    ]
    other = off + seed
    found = redundancy([[[100.0, other + d], [other + d, 100.0]] for d in (-2.0, 2.0)], classes=10)
    protocol, judge = {"name": "igd", "epochs_factor": 0.05}, {"architecture": "resnet8", "accuracy": 91.0}
    copies = {"exact": 0.0, "near": 1.0 + seed, "anchor": None}
    shared = {"protocol": protocol, "judge": judge, "copies": copies}
    return {"seed": seed, "increments": increments, "redundancy": found, **shared}


@pytest.fixture
def comparison() -> dict[str, Any]:
    return compare({"dit": [metrics(s, 0.0) for s in (0, 2)], "lgd": [metrics(s, 6.0, 54.0) for s in (0, 2)]})


def test_mean_deviation_and_number_are_over_runs(comparison: dict[str, Any]) -> None:
    assert comparison["methods"]["lgd"]["accuracy"]["10"] == {
        "mean": 57.0, "std": pytest.approx(2**0.5), "n": 2, "runs": 2,
        "best": {"mean": 58.0, "std": pytest.approx(2**0.5), "n": 2},
    }  # fmt: skip
    assert comparison["redundancy_reduction_vs_dit"] == pytest.approx(100 * 6 / 61)
    assert comparison["redundancy_reduction_above_chance_vs_dit"] == pytest.approx(100 * 6 / 51)
    assert comparison["judge"] == {"architecture": "resnet8", "accuracy": 91.0}
    assert [comparison["methods"]["lgd"][key] for key in ("validity", "reference_validity")] == [90.0, 95.0]


def test_one_run_shows_the_deviation_over_its_seeds() -> None:
    single = compare({"dit": [metrics(0, 0.0)]})["methods"]["dit"]["accuracy"]["2"]
    assert (single["mean"], single["n"]) == (42.0, 2)
    assert single["std"] == pytest.approx(2**0.5)


def test_a_single_value_has_no_deviation() -> None:
    assert spread({"mean": 61.04, "std": 0.0, "n": 1}) == "61.0 (1)"
    assert spread({"mean": 61.04, "std": 0.0, "n": 2}) == "61.0 ± 0.0 (2)"
    assert plus_minus({"mean": 61.04, "std": 0.125, "n": 3}, 2) == "61.04 ± 0.12"


def test_overview(comparison: dict[str, Any]) -> None:
    assert re.sub(r"([- ])\1+", r"\1", markdown(overview(comparison))) == (
        "| method | 2 IPC | 10 IPC | redundancy (chance 10.0) | validity | by reference | copies, % |\n"
        "|:-|-:|-:|-:|-:|-:|-:|\n"
        "| dit | 43.0 ± 1.4 (2) | 51.0 ± 1.4 (2) | 61.0 | 90.0 | 95.0 | 0.0 / 2.0 / - |\n"
        "| lgd | 49.0 ± 1.4 (2) | 57.0 ± 1.4 (2) | 55.0 | 90.0 | 95.0 | 0.0 / 2.0 / - |\n"
    )


def test_the_papers_tables(comparison: dict[str, Any]) -> None:
    made = {each.name: each for each in tables(comparison)}
    assert list(made["accuracy-last"].header) == ["IPC", "architecture", "dit", "lgd"]
    assert made["accuracy-last"].rows[3] == ["10", "resnet18", "40.0 ± 0.0 (2)", "46.0 ± 0.0 (2)"]
    assert made["accuracy-best"].rows[3] == ["10", "resnet18", "41.0 ± 0.0 (2)", "47.0 ± 0.0 (2)"]
    assert made["cross-architecture"].rows[1] == ["lgd", "57.0 ± 1.4 (2)", "46.0 ± 0.0 (2)"]
    assert made["redundancy"].rows == [
        ["dit", "61.0 ± 1.4 (2)", "+51.0", "0.0", "0.0"],
        ["lgd", "55.0 ± 1.4 (2)", "+45.0", "9.8", "11.8"],
    ]
    assert made["differences"].rows[0][:4] == ["lgd", "dit", "convnet", "+6.0 [+6.0, +6.0]"]
    assert "protocol igd, epochs x 0.05" in made["accuracy-last"].caption
    assert "best of several evaluations on the test set" in made["accuracy-best"].caption


def test_redundancy_below_chance_is_told_and_capped() -> None:
    """Five increments that contradict each other are no less redundant than five that share nothing."""
    found = compare({"dit": [metrics(0, 0.0)], "lgd": [metrics(0, 6.0, off=4.0)]})
    (made,) = [each for each in tables(found) if each.name == "redundancy"]
    assert made.rows[1] == ["lgd", "4.0 ± 2.8 (2)", "-6.0 (below chance)", "93.3", "100.0"]
    assert made.records[1]["lower_than_dit_above_chance_percent"] == 100.0
    assert "Below chance increments contradict each other" in made.caption
    assert "over the classifiers of one run" in made.caption


def test_reduction() -> None:
    assert reduction(80.0, 20.0) == 75.0
    assert reduction(60.0, 35.0, chance=10.0) == 50.0
    assert reduction(60.0, 5.0, chance=10.0) == 100.0
    assert reduction(60.0, 70.0, chance=10.0) == -20.0
    assert reduction(9.0, 5.0, chance=10.0) is None
    assert reduction(None, 5.0) is reduction(5.0, None) is None


def test_one_run_has_no_interval() -> None:
    """Its classifiers share its images: they say nothing about other runs."""
    single = compare({"dit": [metrics(0, 0.0)], "lgd": [metrics(0, 6.0)]})
    (made,) = [each for each in tables(single) if each.name == "differences"]
    assert made.rows == [
        ["lgd", "dit", "convnet", "+6.0", "+6.0"],
        ["lgd", "dit", "resnet18", "+6.0", "+6.0"],
    ]
    assert "One run gives no interval" in made.caption


def test_every_number_is_in_the_csv(comparison: dict[str, Any]) -> None:
    made = {each.name: each for each in tables(comparison)}
    rows = list(csv.DictReader(io.StringIO(comma_separated(made["accuracy-last"]))))
    assert len(rows) == 2 * 2 * 2
    assert rows[-1] == {
        "method": "lgd",
        "architecture": "resnet18",
        "ipc": "10",
        "mean": "46.0",
        "std": "0.0",
        "n": "2",
    }


def test_names_cannot_break_a_table() -> None:
    odd = Table("odd", "50 % ± a_b\\{~^<", ["name", "x|y"], [["a&b", "1 ± 2"], ["1.50", "$"]])
    header, rule, *rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in markdown(odd).splitlines()]
    assert [cell.strip() for cell in header] == ["name", r"x\|y"]
    assert re.fullmatch(":-+,-+:", ",".join(rule))
    assert [[cell.strip() for cell in row] for row in rows] == [["a&b", "1 ± 2"], ["1.50", "$"]]
    text = latex(odd)
    assert r"\caption{50 \% $\pm$ a\_b\textbackslash{}\{\textasciitilde{}\^{}\ensuremath{<}}" in text
    assert r"\begin{tabular}{lr}" in text
    between = text.partition(r"\midrule")[2].partition(r"\bottomrule")[0].replace(" ", "").split()
    assert between == [r"a\&b&1$\pm$2\\", r"1.50&\$\\"]
    assert comma_separated(odd).strip() == ""


def test_tables_without_rows_are_left_out(comparison: dict[str, Any]) -> None:
    alone = compare({"dit": [metrics(0, 0.0)]})
    assert {each.name for each in tables(comparison)} - {each.name for each in tables(alone)} == {"differences"}
