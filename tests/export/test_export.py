"""Round trips: another library reads the same images and labels from every format."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import tarfile
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from huggingface_hub import DatasetCard
from PIL import Image
from tests.worked_examples import worked_example

import lgd
from lgd.cli.main import main
from lgd.data.folder import folder_files
from lgd.errors import UserError
from lgd.evaluation.soft_labels import FILE, stored_soft_labels
from lgd.export import export
from lgd.export.card import card
from lgd.export.formats import FORMATS, ExportFormat
from lgd.export.samples import Export, Sample, read_export
from lgd.export.tensors import write_pt
from lgd.storage.files import save_tensors

Pairs = list[tuple[bytes, int]]


@pytest.fixture(scope="module")
def soft_run(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run with stored soft labels, whose logits tell the position of their image in metadata.csv.

    The file lists the images in another order, as it may.
    """
    run = tmp_path_factory.mktemp("soft") / "run"
    shutil.copytree(finished, run)
    with (run / "dataset" / "metadata.csv").open() as file:
        files = [row["file_name"] for row in csv.DictReader(file)]
    logits = torch.arange(60, dtype=torch.float32)[:, None].expand(60, 10) / 10
    store_logits(run, files[::-1], logits.flip(0))
    return run


def store_logits(run: Path, files: list[str], logits: torch.Tensor) -> None:
    names = [str(digit) for digit in range(10)]
    metadata = {"files": json.dumps(files), "class_names": json.dumps(names)}
    save_tensors(run / "dataset" / "soft_labels.safetensors", {"logits": logits.contiguous()}, metadata)


def pixels(image: Image.Image) -> bytes:
    return np.asarray(image.convert("L")).tobytes()


def original(run: Path) -> Pairs:
    loaded = lgd.load(run)
    return sorted(
        (image.numpy().tobytes(), int(label))
        for image, label in zip(loaded.images.images, loaded.images.labels, strict=True)
    )


def test_imagefolder(finished: Path, tmp_path: Path) -> None:
    out = export(finished, "imagefolder", tmp_path / "out")
    names = json.loads((out / "classes.json").read_text())
    found = [
        (pixels(Image.open(path)), names.index(folder.name))
        for folder in out.iterdir()
        if folder.is_dir()
        for path in folder.iterdir()
    ]
    assert sorted(found) == original(finished)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # datasets leaves files open
def test_hf(finished: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    out = export(finished, "hf", tmp_path / "out")
    loaded = datasets.load_dataset("imagefolder", data_dir=str(out), split="train", cache_dir=str(tmp_path / "cache"))
    assert sorted((pixels(row["image"]), row["label"]) for row in loaded) == original(finished)


def test_parquet(soft_run: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    out = export(soft_run, "parquet", tmp_path / "out")
    loaded = datasets.load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache"))
    assert sorted((pixels(row["image"]), row["label"]) for row in loaded) == original(soft_run)
    assert loaded.features["label"].names == [str(digit) for digit in range(10)]
    assert np.allclose(loaded["logits"][7], 0.7)


def test_webdataset(soft_run: Path, tmp_path: Path) -> None:
    out = export(soft_run, "webdataset", tmp_path / "out")
    samples: dict[str, dict[str, bytes]] = {}
    for shard in sorted(out.glob("*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar:
                key, _, suffix = member.name.partition(".")
                file = tar.extractfile(member)
                assert file is not None
                samples.setdefault(key, {})[suffix] = file.read()
    found = [(pixels(Image.open(io.BytesIO(s["png"]))), int(s["cls"])) for s in samples.values()]
    assert sorted(found) == original(soft_run)
    soft = [np.load(io.BytesIO(s["npy"]), allow_pickle=False)[0] for s in samples.values()]
    assert np.allclose(soft, np.arange(60) / 10)
    datasets = pytest.importorskip("datasets")
    shards = [str(path) for path in sorted(out.glob("*.tar"))]
    rows = datasets.load_dataset("webdataset", data_files=shards, split="train", cache_dir=str(tmp_path / "cache"))
    assert sorted((pixels(row["png"]), int(row["cls"])) for row in rows) == original(soft_run)
    again = export(soft_run, "webdataset", tmp_path / "again")
    assert (again / "train-000000.tar").read_bytes() == (out / "train-000000.tar").read_bytes()


def test_pt(soft_run: Path, finished: Path, tmp_path: Path) -> None:
    out = export(soft_run, "pt", tmp_path / "out")
    images, hard = (torch.load(out / name, weights_only=True) for name in ("images.pt", "hard_labels.pt"))
    assert images.shape == (60, 1, 8, 8)
    assert hard.tolist() == sorted(hard.tolist())
    stored = (images * 255).round().to(torch.uint8)
    assert sorted((i.numpy().tobytes(), int(y)) for i, y in zip(stored, hard, strict=True)) == original(soft_run)
    with (soft_run / "dataset" / "metadata.csv").open() as file:
        labels = [int(row["label"]) for row in csv.DictReader(file)]
    soft = torch.load(out / "labels.pt", weights_only=True)
    places = (soft[:, 0] * 10).round().long()
    assert [labels[i] for i in places] == hard.tolist()
    plain = export(finished, "pt", tmp_path / "plain")
    assert torch.equal(torch.load(plain / "labels.pt", weights_only=True), hard)


def test_the_documented_addition(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """docs/export.md: one file and one line make a format that `lgd export` writes and lists."""
    for name, form in worked_example("export.md", "Add an export format", {"ExportFormat": ExportFormat}).items():
        monkeypatch.setitem(FORMATS, name, form)
    out = tmp_path / "out"
    assert main(["export", str(finished), "--to", "npz", "--out", str(out), "--quiet"]) == 0
    with np.load(out / "train.npz", allow_pickle=False) as file:
        found = [(image.tobytes(), int(label)) for image, label in zip(file["images"], file["labels"], strict=True)]
        assert sorted(found) == original(finished)
        assert file["class_names"].tolist() == [str(digit) for digit in range(10)]
    card = (out / "README.md").read_text()
    assert "`numpy.load` of train.npz" in card
    assert "  train.npz\n" in card
    with pytest.raises(SystemExit):
        main(["export", "--help"])
    assert "npz          one NumPy file" in capsys.readouterr().out
    assert main(["export", str(finished), "--to", "npy", "--out", str(out)]) == 2
    assert "--to: unknown format 'npy'; did you mean 'npz'?" in capsys.readouterr().err


CIFAR = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.mark.parametrize(
    ("source", "name", "names", "side", "given", "wanted"),
    [
        ("parquet:train.parquet,test.parquet", "custom", CIFAR10, 32, "", CIFAR),
        ("folder:images", "mine", ("Cat", "dog"), 32, "", CIFAR),
        ("hf:uoft-cs/cifar100", "custom", ("aquarium_fish", "lawn mower", "worm"), 32, "", CIFAR),
        ("parquet:train.parquet", "cifar10", ("0", "1"), 32, "", CIFAR),
        ("folder:images", "custom", ("cat", "dog"), 64, "", IMAGENET),
        ("folder:images", "custom", ("n01440764", "n02102040"), 224, "", IMAGENET),
        ("folder:images", "custom", ("cat", "piano"), 32, "", IMAGENET),
        ("folder:images", "custom", CIFAR10, 32, "imagenet", IMAGENET),
        ("folder:images", "custom", CIFAR10, 32, "0.5,0.4,0.3/0.1,0.2,0.25", ((0.5, 0.4, 0.3), (0.1, 0.2, 0.25))),
        ("folder:images", "custom", CIFAR10, 32, "none", ((0.0,) * 3, (1.0,) * 3)),
    ],
)
def test_tensors_are_normalised_as_ddranking_normalises_the_data_set(
    source: str, name: str, names: tuple[str, ...], side: int, given: str, wanted: tuple[tuple[float, ...], ...],
    tmp_path: Path,
) -> None:  # fmt: skip
    pixels = np.arange(side * side * 3, dtype=np.uint8).reshape(side, side, 3)
    Image.fromarray(pixels).save(tmp_path / "0.png")
    sample = Sample(tmp_path / "0.png", "0.png", 1, names[1], 1, 0, None, "")
    content = Export(tmp_path, [sample], names, None, {"dataset": {"source": source}, "name": name}, {}, {}, {})
    content = replace(content, statistics=given)
    (tmp_path / "out").mkdir()
    told = write_pt(content, tmp_path / "out", lambda: None)
    images = torch.load(tmp_path / "out" / "images.pt", weights_only=True)
    for channel in range(3):
        expected = (pixels[:, :, channel] / 255 - wanted[0][channel]) / wanted[1][channel]
        assert np.allclose(images[0, channel], expected, atol=1e-6)
    assert (str(wanted[0]) in told) is (given != "none")


@pytest.mark.parametrize("given", ["cifra", "0.5/0.2", "1,2,3/1,0,1", "1,2,3"])
def test_statistics_that_do_not_fit_are_refused(given: str, finished: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--statistics: ") if given != "0.5/0.2" else nullcontext():
        export(finished, "pt", tmp_path / "out", statistics=given)  # its images are grey: one number fits
    assert (tmp_path / "out").exists() is (given == "0.5/0.2")
    with pytest.raises(UserError, match=r"--statistics: parquet keeps images as they are"):
        export(finished, "parquet", tmp_path / "other", statistics="cifar")


def test_soft_labels_travel_with_folders(soft_run: Path, tmp_path: Path) -> None:
    out = export(soft_run, "hf", tmp_path / "out")
    own = soft_run / "dataset"
    assert (out / "order.csv").read_bytes() == (own / "metadata.csv").read_bytes()
    files, names = folder_files(out, "0123456789"), "0123456789"
    found, wanted = (stored_soft_labels(place / FILE, files, names) for place in (out, own))
    assert torch.equal(found, wanted)


def test_card_tells_what_it_is(finished: Path, tmp_path: Path) -> None:
    out = export(finished, "hf", tmp_path / "out")
    text = (out / "README.md").read_text()
    for word in (
        "license",
        "Method `lgd`",
        "licence",
        "Intended use",
        "Scores",
        "Settings",
        "order.csv",
        "±",
        "@inproceedings",
        "class_label",
    ):
        assert word in text


def test_names_cannot_break_the_card(finished: Path, tmp_path: Path) -> None:
    """Names of classes, methods and data sets that look like YAML, Markdown or a Jinja template stay text."""
    evil = "`x`\n---\nlicense: mit\n---\n# {{ 7 * 7 }} {% for"
    content = read_export(finished)
    config = {**content.config, "method": evil, "dataset": {**content.config["dataset"], "source": f"hf:{evil}"}}
    content = replace(content, class_names=(evil, *content.class_names[1:]), config=config)
    text = card(content, FORMATS["parquet"], "Read it.", tmp_path)
    read = DatasetCard(text)
    assert read.data.license == "other"
    assert read.data.configs == [{"config_name": "default", "data_files": "data/*.parquet"}]
    plain = "'x' --- license: mit --- # {{ 7 * 7 }} {% for"
    assert read.data.pretty_name == f"{plain} distilled by {plain}"
    assert f"\n0. `{plain}`\n1. `1`\n" in text
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings[0] == f"# {plain}, distilled by {plain}"
    assert headings[1:] == re.findall("^## .*", (Path(lgd.export.__path__[0]) / "card.md").read_text(), re.MULTILINE)


def test_existing_target_needs_overwrite(finished: Path, tmp_path: Path) -> None:
    out = export(finished, "pt", tmp_path / "out")
    assert main(["export", str(finished), "--to", "pt", "--out", str(out), "--quiet"]) == 2
    with pytest.raises(UserError, match="exists"):
        export(finished, "imagefolder", out)
    export(finished, "imagefolder", out, overwrite=True)
    assert not (out / "images.pt").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match="not an export"):
        export(finished, "pt", tmp_path / "mine", overwrite=True)
    with pytest.raises(UserError, match="outside the run"):
        export(finished, "pt", finished / "dataset" / "more")


def test_failure_leaves_nothing(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import lgd.export.card

    def fail(*_: object) -> str:
        raise OSError(28, "No space left on device")

    kept = export(finished, "pt", tmp_path / "kept")
    before = (kept / "images.pt").read_bytes()
    monkeypatch.setattr(lgd.export.card, "card", fail)
    for out, overwrite in ((tmp_path / "new", False), (kept, True)):
        with pytest.raises(OSError, match="No space"):
            export(finished, "webdataset", out, overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (kept / "images.pt").read_bytes() == before


@pytest.mark.parametrize("damage", ["missing", "changed", "shape"])
def test_damaged_runs_are_refused(soft_run: Path, tmp_path: Path, damage: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(soft_run, run)
    image = next(run.glob("dataset/3/*.png"))
    if damage == "missing":
        image.unlink()
    elif damage == "changed":
        image.write_bytes(next(run.glob("dataset/4/*.png")).read_bytes())
    else:
        store_logits(run, ["0/01-0000.png"], torch.ones(59, 10))
    with pytest.raises(UserError, match=r"soft_labels.*\(59, 10\)" if damage == "shape" else str(image)):
        export(run, "hf", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_push(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    calls: list[tuple[str, object]] = []
    fake = SimpleNamespace(
        create_repo=lambda name, **_: calls.append(("create", name)),
        upload_folder=lambda **kw: calls.append(
            ("upload", (kw["repo_id"], kw["repo_type"], (Path(kw["folder_path"]) / "README.md").is_file()))
        ),
    )
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: fake)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(UserError, match="token"):
        export(finished, "pt", tmp_path / "out", push="me/set")
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "secret")
    export(finished, "pt", tmp_path / "out", push="me/set")
    assert calls == [("create", "me/set"), ("upload", ("me/set", "dataset", True))]
