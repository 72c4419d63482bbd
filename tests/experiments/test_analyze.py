"""`lgd analyze` end to end on tiny runs and folders, and on damaged ones."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from tests.cli.test_main import toml

from lgd.analysis.context import AnalysisConfig
from lgd.analysis.registry import MEASURES
from lgd.cli.main import main
from lgd.config import Config, load_config
from lgd.data.folder import decode_image
from lgd.errors import UserError
from lgd.experiments.analyze import analyze, unique_names
from lgd.report.plots import plot_analysis

QUICK = AnalysisConfig(seeds=1, epochs=2)
DOCS = Path(__file__).parents[2] / "docs" / "analyses.md"


def test_run_and_folder_side_by_side(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "theirs"
    shutil.copytree(finished / "dataset", folder)
    (folder / "metadata.csv").unlink()
    out = tmp_path / "out"
    words = ["analyze", str(finished), str(folder), "--test", "digits", "--out", str(out)]
    words += ["--seeds", "1", "--epochs", "2", "--increments", "2", "--workers", "1", "--quiet"]
    assert main(words) == 0
    assert "| informative, %" in capsys.readouterr().out
    found = json.loads((out / "analysis.json").read_text())
    run, theirs = found["sets"][finished.name], found["sets"]["theirs"]
    assert (run["increments"], theirs["increments"]) == ([20, 20, 20], [30, 30])
    for one in (run, theirs):
        K = len(one["increments"])
        assert len(one["redundancy"]["matrix"]) == K
        assert len(one["incremental"]["jump"]) == K - 1
        assert sum(one["dynamics"][name] for name in ("easy", "informative", "hard")) == pytest.approx(100)
        assert 0 <= one["dynamics"]["divergence_from_real"]["mean"] <= 1
        assert one["fid"] >= 0
    metrics = json.loads((finished / "metrics.json").read_text())
    shares = {"judge": "validity", "reference": "reference_validity"}
    for name, key in shares.items():  # increments of one size
        expected = fmean(row[key] for row in metrics["increments"])
        assert run["adversarial"][name] == theirs["adversarial"][name] == pytest.approx(expected)
    assert run["adversarial"]["gap"] == run["adversarial"]["reference"] - run["validity"]["mean_valid"]
    assert not (out / "judge.safetensors").exists()
    # The same images: what does not depend on the division is the same.
    for name in ("fid", "precision", "recall"):
        assert run[name] == pytest.approx(theirs[name], rel=1e-3)
    for name in ("redundancy", "incremental", "dynamics", "validity", "adversarial"):
        assert (out / "figures" / f"{name}.png").stat().st_size > 5000
        assert (out / "figures" / f"{name}.svg").is_file()


def test_finished_work_is_kept(finished: Path, tmp_path: Path) -> None:
    first = analyze([finished], tmp_path / "out", settings=QUICK)
    cells = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "cells").rglob("*.json")}
    again = analyze([finished], tmp_path / "out", settings=QUICK)
    assert first == again
    assert cells == {path: path.stat().st_mtime_ns for path in cells}
    with pytest.raises(UserError, match=r"another configuration.*epochs"):
        analyze([finished], tmp_path / "out", settings=AnalysisConfig(seeds=1, epochs=3))


def test_damage_is_told_and_the_rest_analysed(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    images = sorted(run.glob("increments/02/*/*.png"))
    images[0].unlink()
    images[1].write_bytes(images[2].read_bytes())
    shutil.copy(images[3], images[3].with_name("extra.png"))
    found = analyze([run], tmp_path / "out", settings=QUICK)["sets"]["run"]
    assert found["increments"] == [20, 18, 20]
    notes = "\n".join(found["notes"])
    for words in (f"missing; left out (first: {images[0]})", "SHA-256", "extra.png"):
        assert words in notes


@pytest.mark.parametrize("what", ["one increment", "one class"])
def test_what_can_be_analysed_is(finished: Path, tiny: Config, tmp_path: Path, what: str) -> None:
    folder = tmp_path / "theirs"
    shutil.copytree(finished / "dataset", folder)
    (folder / "metadata.csv").unlink()
    if what == "one class":
        for path in folder.iterdir():
            if path.name != "4":
                shutil.rmtree(path)
    settings = AnalysisConfig(seeds=1, epochs=2, increments=1 if what == "one increment" else 2)
    analysis = analyze([folder], tmp_path / "out", str(toml(tiny, tmp_path / "tiny.toml")), settings)
    found = analysis["sets"]["theirs"]
    if what == "one increment":
        assert (found["redundancy"], found["incremental"]) == (None, None)
        assert found["validity"]["mean_difficulty"] is None
        assert "one increment only" in found["notes"][0]
        assert analysis["groups"]["theirs"]["loss_jump"] is None
        assert list(plot_analysis(tmp_path / "out")) == ["dynamics", "adversarial"]
    else:
        assert found["increments"] == [3, 3]
        assert "1 of 10 classes" in found["notes"][0]
        assert list(plot_analysis(tmp_path / "out")) == [
            "redundancy",
            "incremental",
            "dynamics",
            "validity",
            "adversarial",
        ]


def test_fewer_images_than_increments(finished: Path, tiny: Config, tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    shutil.copytree(finished / "dataset", folder)
    for path in sorted((folder / "7").iterdir())[2:]:
        path.unlink()
    found = analyze([folder], tmp_path / "out", str(toml(tiny, tmp_path / "tiny.toml")), QUICK)["sets"]["theirs"]
    assert len(found["increments"]) == 2
    assert "smallest class has 2 images" in found["notes"][0]


def test_mistakes_are_told(finished: Path, tmp_path: Path, tiny: Config) -> None:
    plain = tmp_path / "plain"
    shutil.copytree(finished / "dataset", plain)
    out = tmp_path / "out"
    cases: list[tuple[list[Path], dict[str, Any], str]] = [
        ([tmp_path / "nothing"], {}, "no such directory"),
        ([plain], {}, "--test"),
        ([finished, finished], {}, "given twice"),
        ([finished], {"settings": AnalysisConfig(epochs=1)}, "--epochs"),
    ]
    for paths, options, words in cases:
        with pytest.raises(UserError, match=words):
            analyze(paths, out, **options)
    (plain / "zebra").mkdir()
    with pytest.raises(UserError, match=r"zebra.*not one of the classes"):
        analyze([plain], out, "digits", QUICK)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no images"):
        analyze([tmp_path / "empty"], out, "digits", QUICK)
    other = tmp_path / "other"
    shutil.copytree(finished, other)
    config = json.loads((other / "config.json").read_text())
    config["dataset"]["split_seed"] = 5
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"dataset\.split_seed"):
        analyze([finished, other], out)
    assert not out.exists()
    assert load_config("digits").dataset.split_seed == 0


def test_names_tell_sets_apart() -> None:
    assert unique_names([Path("/a/x"), Path("/b/x")]) == ["a/x", "b/x"]
    assert unique_names([Path("/a/x"), Path("/b/y")]) == ["x", "y"]


def test_a_sample_of_the_real_images(finished: Path, tmp_path: Path) -> None:
    """Neighbours are found among all real images, even if features are compared with a sample of them."""
    whole = analyze([finished], tmp_path / "whole", settings=QUICK)
    part = analyze([finished], tmp_path / "part", settings=replace(QUICK, real_limit=100))
    assert (whole["real"]["images_used"], part["real"]["images_used"]) == (whole["real"]["images"], 100)
    mine, theirs = (one["sets"][finished.name]["neighbours"] for one in (whole, part))
    assert mine["median_distance"] == pytest.approx(theirs["median_distance"], rel=1e-4)
    assert theirs["median_distance_among_real"] > 0  # an image is not its own neighbour


def test_the_documented_example_adds_an_analysis(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file and one line, read from the documentation, give a number, a row of the table, a figure and a caption."""
    file, line = re.findall(r"```python\n(.*?)```", DOCS.read_text().split("## Add an analysis")[1], re.DOTALL)
    (tmp_path / "contrast.py").write_text(file)
    spec = spec_from_file_location("lgd.analysis.contrast", tmp_path / "contrast.py")
    assert spec is not None
    assert spec.loader is not None
    contrast = module_from_spec(spec)
    spec.loader.exec_module(contrast)
    assert line.count("\n") == 1
    for name in MEASURES.keys() - {"validity"}:  # a neighbour in the table; the others take seconds
        monkeypatch.delitem(MEASURES, name)
    for name, measure in eval(f"{{{line}}}", {"contrast": contrast}).items():
        monkeypatch.setitem(MEASURES, name, measure)
    out, page = tmp_path / "out", tmp_path / "report.html"
    words = ["analyze", str(finished), "--out", str(out), "--seeds", "1", "--epochs", "2", "--workers", "1", "--quiet"]
    assert main(words) == 0
    images = [decode_image(path).double() for path in sorted(finished.glob("increments/*/*/*.png"))]
    rows = [row for image in images for row in image.flatten(0, 1).tolist()]
    steps = [abs(a - b) for row in rows for a, b in pairwise(row)]
    value = json.loads((out / "analysis.json").read_text())["sets"][finished.name]["contrast"]
    assert value == pytest.approx(sum(steps) / len(steps))
    (row,) = [row for row in capsys.readouterr().out.splitlines() if "contrast" in row]
    assert [cell.strip() for cell in row.split("|")] == ["", "contrast, grey levels", f"{value:.1f}", ""]
    assert (out / "figures" / "contrast.svg").is_file()
    assert (out / "figures" / "contrast.png").stat().st_size > 2000
    assert main(["report", str(finished), "--analysis", str(out), "--out", str(page), "--quiet"]) == 0
    text = page.read_text()
    for part in ('id="figure-contrast"', contrast.MEASURE.title, contrast.MEASURE.how_to_read, f"<td>{value:.1f}</td>"):
        assert part in text


def test_the_documentation_has_the_sentences_of_the_report() -> None:
    text = " ".join(DOCS.read_text().split())
    documented = [measure for measure in MEASURES.values() if f"**{measure.title}" in text]
    assert len(documented) >= 9
    for measure in documented:
        assert measure.how_to_read in text
