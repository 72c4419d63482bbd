"""The HTML page without a browser: its size, images, command, and unusual input."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from sklearn.metrics import confusion_matrix

from lgd.analysis.redundancy import MAPS_PER_ROW
from lgd.cli.experiments import CompareOptions, DistillOptions
from lgd.cli.main import main
from lgd.cli.parsing import parse, preset_first
from lgd.config import Config, load_config, to_dict, with_values
from lgd.data.imageset import ImageSet
from lgd.distillation.store import Candidate, Row, SelectedImage, encode_png, image_file, read_rows, write_group
from lgd.evaluation import cells
from lgd.evaluation.cells import confusion_counts
from lgd.report import plots
from lgd.report.finished_runs import FinishedRun, read_runs
from lgd.report.gallery import LIMIT, rejected_images, sample
from lgd.report.html import class_rows, difference_rows
from lgd.report.reproduce import command, command_of_all
from lgd.report.thumbnails import thumbnail
from lgd.rng import generator
from lgd.storage.files import sha256, write_bytes, write_text


def grow(run: Path, template: Path, images: int, side: int) -> None:
    """A run of noise, which compresses worst: `images` RGB images in two increments, all rows sharing 50 files."""
    shutil.copytree(template, run, ignore=shutil.ignore_patterns("increments", "dataset"))
    draw = generator("noise images")
    for increment in (1, 2):
        folder = run / "increments" / f"{increment:02d}"
        files = []
        for slot in range(50):
            file = image_file("0", increment, slot)
            path = folder / file
            noise = torch.randint(0, 256, (3, side, side), generator=draw, dtype=torch.uint8)
            write_bytes(path, encode_png(noise))
            files.append((file, sha256(path)))
        rows = []
        one = asdict(Row("", "0", 0, increment, 0, 0, (Candidate(0, 0.5), Candidate(1, 0.2)), ""))
        for i in range(images // 2):
            file, digest = files[i % 50]
            rows.append(json.dumps({**one, "file": file, "label": i % 10, "slot": i % 50, "sha256": digest}) + "\n")
        write_text(folder / "manifest.jsonl", "".join(rows))
        write_text(folder / "done", "")


def test_size(finished: Path, tmp_path: Path) -> None:
    grow(tmp_path / "run", finished, 20_000, side=128)
    out = tmp_path / "report.html"
    assert main(["report", str(tmp_path / "run"), "--out", str(out), "--quiet"]) == 0
    assert out.stat().st_size < 15 * 2**20
    assert f"A sample of {LIMIT} of 20000 images" in out.read_text()


def test_sample_is_even(finished: Path) -> None:
    run = FinishedRun(finished, "lgd", {}, {}, {}, ())
    items = [
        (run, finished, Row("", "", label, increment, slot, 0, (Candidate(0),), ""))
        for increment in (1, 2)
        for label in range(5)
        for slot in range(40)
    ]
    kept = sample(items, 100)
    assert len(kept) == 100
    counts = {(k, c): sum(r.increment == k and r.label == c for *_, r in kept) for k in (1, 2) for c in range(5)}
    assert set(counts.values()) == {10}
    assert [items.index(item) for item in kept] == sorted(items.index(item) for item in kept)
    assert len({(r.increment, r.label) for *_, r in sample(items, 7)}) == 7


def test_the_command_makes_the_same_configuration() -> None:
    config = with_values(
        load_config("digits"), {"method": "dit", "seed": 3, "guidance.window": (1, 6), "reference.training.flip": True}
    )
    words = command(to_dict(config), "run").split()
    preset, base, rest = preset_first("distill", words[2:])
    options = parse(DistillOptions, f"lgd distill {preset}", rest, DistillOptions("x", config=base))
    assert to_dict(options.config) == to_dict(config)
    assert options.out == "run"


def test_one_command_repeats_a_comparison() -> None:
    base = with_values(load_config("digits"), {"guidance.omega": 0.5})
    configs = [to_dict(with_values(base, {"method": name, "seed": seed})) for name in ("dit", "lgd") for seed in (1, 2)]
    words = command_of_all(configs, ["dit", "lgd"], "again").split()
    assert words[:3] == ["lgd", "compare", "digits"]
    preset, config, rest = preset_first("compare", words[2:])
    options = parse(
        CompareOptions, f"lgd compare {preset}", rest, CompareOptions(methods=("lgd",), out="x", config=config)
    )
    assert (list(options.methods), options.runs, options.config.seed) == (["dit", "lgd"], 2, 1)
    assert to_dict(with_values(options.config, {"method": "dit", "seed": 2})) == configs[1]
    assert command_of_all(configs[:3], ["dit", "lgd"], "again") is None
    assert command_of_all(configs[:1], ["dit"], "again") is None


def test_several_methods_in_the_order_asked(finished: Path, tmp_path: Path) -> None:
    both = tmp_path / "both"
    for method in ("dit", "lgd"):
        for seed in (0, 1):
            run = both / f"{method}-seed{seed}"
            shutil.copytree(finished, run, ignore=shutil.ignore_patterns("dataset"))
            config = json.loads((run / "config.json").read_text()) | {"method": method, "seed": seed}
            (run / "config.json").write_text(json.dumps(config))
            metrics = json.loads((run / "metrics.json").read_text()) | {"seed": seed, "method": method}
            for increment in metrics["increments"]:
                for cell in increment["architectures"].values():
                    cell["values"] = [value + (10 + seed) * (method == "lgd") for value in cell["values"]]
            (run / "metrics.json").write_text(json.dumps(metrics))
    (both / "comparison.json").write_text(json.dumps({"methods": {"lgd": {}, "dit": {}}}))
    runs, _ = read_runs([both])
    assert [run.method for run in runs] == ["lgd", "lgd", "dit", "dit"]
    out = tmp_path / "report.html"
    assert main(["report", str(both), "--out", str(out), "--quiet"]) == 0
    text = out.read_text()
    table = difference_rows(runs)
    assert table is not None
    low, high = 10.5 - 12.706 * 0.5, 10.5 + 12.706 * 0.5  # Student's t with one degree of freedom
    assert table.rows[0][-1] == f"-10.5 [{-high:+.1f}, {-low:+.1f}]"
    assert f"<td>{table.rows[0][-1]}</td>" in text
    assert "lgd compare digits" in text
    copies = json.loads((finished / "metrics.json").read_text())["copies"]
    assert f"<td>{copies['exact']:.1f} / {copies['near']:.1f} / -</td></tr>" in text
    assert text.index("</i>lgd</h3>") < text.index("</i>dit</h3>")


def test_confusion_is_counted_by_true_class(finished: Path) -> None:
    found_cells = [json.loads(path.read_text()) for path in sorted(finished.glob("evaluation/accuracy-*-03-*.json"))]
    assert found_cells
    for cell in found_cells:
        counts = torch.tensor(cell["confusion"])
        assert 100 * counts.diagonal().sum() / counts.sum() == pytest.approx(cell["accuracy"])
    found = json.loads((finished / "metrics.json").read_text())["increments"][-1]["confusion"]
    assert found == sum(torch.tensor(cell["confusion"]) for cell in found_cells).tolist()  # type: ignore[union-attr]
    (row, *_) = class_rows({"lgd": {"confusion": [[3, 1], [0, 0]]}}, ["a", "b"])
    assert row == ["a", "75.0"]


def test_confusion_counts_are_those_of_scikit_learn() -> None:
    images = ImageSet(torch.zeros(40, 1, 2, 2, dtype=torch.uint8), torch.arange(40) % 4, tuple("abcd"))
    answers = torch.randint(0, 4, (40,), generator=generator("answers"))
    classifier = SimpleNamespace(mean=torch.zeros(1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "predict", lambda *_: torch.nn.functional.one_hot(answers, 4))
        assert confusion_counts(classifier, images) == confusion_matrix(images.labels, answers).tolist()  # type: ignore[arg-type]


def test_pictures_of_rejected_candidates(tmp_path: Path) -> None:
    """Written in the candidates' order, without the kept one, and found again."""
    images = [torch.full((3, 80, 80), value, dtype=torch.uint8) for value in (10, 20, 30)]
    candidates = tuple(Candidate(seed) for seed in range(3))
    item = SelectedImage(0, 0, images[1], None, candidates, 1, rejected=(images[0], images[2]))
    write_group(tmp_path / "groups" / "0000.json", [item], ["a"], 1)
    (row,) = read_rows(tmp_path / "g", json.loads((tmp_path / "groups" / "0000.json").read_text()))
    found = rejected_images(tmp_path / row.file, row)
    assert {k: (tuple(image.shape), int(image[0, 0, 0])) for k, image in found.items()} == {
        0: ((3, 64, 64), 10),
        2: ((3, 64, 64), 30),
    }


def test_photographs_are_jpeg_and_tiny_images_png() -> None:
    noise = Image.fromarray(torch.randint(0, 256, (128, 128, 3), generator=generator("n")).to(torch.uint8).numpy())
    assert thumbnail(noise, 160).startswith("data:image/jpeg")
    assert thumbnail(Image.new("RGB", (128, 128)), 160).startswith("data:image/png")
    assert thumbnail(noise.resize((8, 8)), 160).startswith("data:image/png")


def test_nothing_outside_is_named(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    assert main(["report", str(finished), "--out", str(out), "--quiet"]) == 0
    text = out.read_text()
    assert "A sample of" not in text
    addresses = set(re.findall(r'(?:src|href|url\()\s*=?\s*["\']?(?:https?:)?//[^"\')\s]+', text))
    assert addresses == set()
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_figures_of_an_analysis_are_included(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "analysis"
    words = [
        "analyze",
        str(finished),
        "--out",
        str(folder),
        "--seeds",
        "1",
        "--epochs",
        "2",
        "--workers",
        "1",
        "--quiet",
    ]
    assert main(words) == 0
    out = tmp_path / "report.html"
    assert main(["report", str(finished), "--analysis", str(folder), "--out", str(out), "--quiet"]) == 0
    text = out.read_text()
    for name in ("accuracy", "redundancy", "incremental", "dynamics", "validity", "scores"):
        assert f'id="figure-{name}"' in text


def test_unfinished_and_foreign_directories(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "report.html")
    both = tmp_path / "both"
    shutil.copytree(finished, both / "lgd-seed0")
    shutil.copytree(finished, both / "lgd-seed1", ignore=shutil.ignore_patterns("metrics.json"))
    assert main(["report", str(both), "--out", out, "--quiet"]) == 0
    assert "lgd-seed1 is not finished and left out." in Path(out).read_text()
    for arguments, words in (
        ([str(both / "lgd-seed0"), "--out", out], "exists"),
        ([str(both / "lgd-seed1"), "--out", out, "--overwrite"], "no finished run"),
        ([str(finished / "dataset"), "--out", out, "--overwrite"], "neither a run"),
        ([str(finished), "--out", str(tmp_path)], "is a directory"),
    ):
        assert main(["report", *arguments, "--quiet"]) == 2
        assert words in capsys.readouterr().err


def test_runs_of_other_classes_have_no_report_together(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished, tmp_path / "other", ignore=shutil.ignore_patterns("dataset"))
    write_text(tmp_path / "other" / "classes.json", '["a", "b"]')
    assert main(["report", str(finished), str(tmp_path / "other"), "--out", str(tmp_path / "report.html")]) == 2
    assert f"{tmp_path / 'other'}: other classes than {finished}; a report is about" in capsys.readouterr().err


def test_missing_images_are_told(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    next(run.glob("increments/01/*/*.png")).unlink()
    out = tmp_path / "report.html"
    assert main(["report", str(run), "--out", str(out), "--quiet"]) == 0
    assert "1 images listed in the manifests of run are missing." in out.read_text()


def test_column_labels_fit() -> None:
    assert plots.column_labels(2, 0.84) == ["incr. 1", "incr. 2"]
    assert plots.column_labels(1, 2.0) == ["increment 1"]
    assert plots.column_labels(3, 0.42) == ["1", "2", "3"]


def test_tensorboard_scalars(tiny: Config, finished: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    code = f"from pathlib import Path; from lgd.report.events import write_scalars; write_scalars(Path({str(run)!r}))"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert len(list((run / "tensorboard").glob("events.out.*"))) == 1


def test_figures_of_many_methods_keep_them_apart() -> None:
    names = [f"method {i}" for i in range(11)]
    maps = plots.redundancy_maps(
        {name: [[100.0, 10.0], [10.0, 100.0]] for name in names}, dict.fromkeys(names, 10.0), 10.0
    )
    assert sum(axis.axison for axis in maps.axes) == 11 + 1  # and the scale
    assert max(axis.get_subplotspec().colspan.stop for axis in maps.axes[:11]) == MAPS_PER_ROW
    curves = plots.accuracy_curves({name: {"10": {"mean": 50.0, "std": 1.0}} for name in names})
    (axis,) = curves.axes
    lines = [container[0] for container in axis.containers]
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 11
    curves.canvas.draw()
    assert axis.get_legend().get_window_extent().x0 >= axis.get_window_extent().x1
    plots.render(maps, "svg")
    plots.render(curves, "svg")


@pytest.mark.parametrize("count", [MAPS_PER_ROW + 1, 2 * MAPS_PER_ROW + 1])
def test_a_row_of_maps_leaves_room_for_the_titles_of_the_next(count: int) -> None:
    names = [f"method {i}" for i in range(count)]
    maps = plots.redundancy_maps({name: [[100.0] * 5] * 5 for name in names}, dict.fromkeys(names, 10.0), 10.0)
    FigureCanvasAgg(maps).draw()
    above, below = maps.axes[0], maps.axes[MAPS_PER_ROW]
    assert above.xaxis.label.get_window_extent().y0 > below.title.get_window_extent().y1


def test_everything_is_a_line_across_and_leaves_the_others_room() -> None:
    """The accuracy at 134 IPC is not drawn to scale; the methods at 2 and 10 IPC fill the axis."""
    row = {"mean": 90.0, "std": 1.0}
    figure = plots.accuracy_curves({"full": {"134": row}, "dit": {"2": row, "10": row}, "lgd": {"2": row, "10": row}})
    (axis,) = figure.axes
    assert axis.get_xlim()[1] < 12
    assert axis.get_xticks().tolist() == [2, 10]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["full (134 IPC)", "dit", "lgd"]  # type: ignore[union-attr]
    (alone,) = plots.accuracy_curves({"full": {"134": row}}).axes
    assert alone.get_xticks().tolist() == [134]
