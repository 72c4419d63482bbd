"""From a real run through every format to its readers: images, class names, the order of labels, soft labels."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lgd import distill
from lgd.config import Config, DatasetConfig, with_values
from lgd.data.class_names import plain_name
from lgd.data.folder import folder_files, read_folder
from lgd.data.splits import load_splits
from lgd.errors import UserError
from lgd.evaluation.soft_labels import FILE, stored_soft_labels
from lgd.export import export
from lgd.export.folders import folder_name, in_folders
from lgd.export.samples import read_export
from lgd.storage.files import read_json

AWKWARD = {
    "unicode": ("żaba", "zebra", "Äffchen", "été"),
    "dashes": ("dash", "-dash", "--", "_dash"),
    "spaces": ("a b", "100%", "5% off", "a  b c"),
}
Item = tuple[bytes, str, int, tuple[float, ...]]
"""an image's bytes, its class, its label, its logits by the class's name in order"""


def image_folder_classes(root: Path) -> list[str]:
    """Return the classes in torchvision's order: sorted names of the folders."""
    return sorted(entry.name for entry in os.scandir(root) if entry.is_dir())


@pytest.fixture(scope="module", params=AWKWARD)
def made(request: pytest.FixtureRequest, tiny: Config, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a real image folder with awkward names, and a run on it that stored its teacher's labels.

    The run counts its classes in an order of its own.
    """
    names, root = AWKWARD[request.param], tmp_path_factory.mktemp("awkward")
    draw = np.random.default_rng(0)
    for name in names:
        (root / "real" / name).mkdir(parents=True)
        for i in range(5):
            Image.fromarray(draw.integers(0, 256, (8, 8), dtype=np.uint8)).save(root / "real" / name / f"{i}.png")
    config = with_values(
        tiny,
        {
            "dataset.source": f"folder:{root / 'real'}",
            "dataset.classes": names,
            "method": "random",
            "stages.increments": 2,
            "stages.images_per_increment": 1,
            "evaluation.seeds": 1,
            "evaluation.redundancy_seeds": 0,
            "evaluation.protocol": "soft",
            "evaluation.epochs_factor": 0.01,
            "evaluation.teacher.stored": True,
        },
    )
    return root / "real", distill(config, root / "run").root


def pixels(data: Any) -> bytes:
    image = data if isinstance(data, Image.Image) else Image.open(data)
    return np.asarray(image).tobytes()


def by_name(logits: Any, names: list[str]) -> tuple[float, ...]:
    return tuple(float(logits[names.index(name)]) for name in sorted(names))


def from_folders(out: Path) -> Iterator[Item]:
    """Read as ImageFolder does, and the labels as lgd's evaluation does."""
    folders, names = image_folder_classes(out), read_json(out / "classes.json")
    files = folder_files(out, names)
    logits = dict(zip(files, stored_soft_labels(out / FILE, files, names), strict=True))
    for label, folder in enumerate(folders):
        for path in (out / folder).iterdir():
            yield pixels(path), plain_name(folder), label, by_name(logits[f"{folder}/{path.name}"], names)


def from_datasets(out: Path) -> Iterator[Item]:
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(str(out), split="train", cache_dir=str(out.parent / "cache"))
    names = loaded.features["label"].names
    for row in loaded:
        assert row["class_name"] == names[row["label"]]
        yield pixels(row["image"]), names[row["label"]], row["label"], by_name(row["logits"], names)


def from_tar(out: Path) -> Iterator[Item]:
    names = read_json(out / "classes.json")
    with tarfile.open(out / "train-000000.tar") as tar:
        found: dict[str, dict[str, bytes]] = {}
        for member in tar:
            key, _, suffix = member.name.partition(".")
            found.setdefault(key, {})[suffix] = tar.extractfile(member).read()  # type: ignore[union-attr]
    for one in found.values():
        label = int(one["cls"])
        assert json.loads(one["json"])["class_name"] == names[label]
        yield pixels(io.BytesIO(one["png"])), names[label], label, by_name(np.load(io.BytesIO(one["npy"])), names)


def from_tensors(out: Path) -> Iterator[Item]:
    names = read_json(out / "classes.json")
    images, labels, logits = (
        torch.load(out / f"{name}.pt", weights_only=True) for name in ("images", "hard_labels", "labels")
    )
    for image, label, row in zip(images, labels.tolist(), logits, strict=True):
        data = (image[0] * 255).round().to(torch.uint8).numpy().tobytes()
        yield data, names[label], label, by_name(row, names)


READERS: dict[str, Callable[[Path], Iterator[Item]]] = {
    "imagefolder": from_folders,
    "hf": from_datasets,
    "parquet": from_datasets,
    "webdataset": from_tar,
    "pt": from_tensors,
}


@pytest.mark.parametrize("form", READERS)
def test_what_a_reader_finds_is_what_the_run_has(form: str, made: tuple[Path, Path], tmp_path: Path) -> None:
    real, run = made
    content = read_export(run)
    assert content.logits is not None
    out = export(run, form, tmp_path / "out")
    names = read_json(out / "classes.json") if form != "parquet" else list(content.class_names)
    wanted = [
        (pixels(s.path), s.class_name, names.index(s.class_name), by_name(row, list(content.class_names)))
        for s, row in zip(content.samples, content.logits, strict=True)
    ]
    assert sorted(READERS[form](out)) == sorted(wanted)
    if form in ("imagefolder", "hf"):  # a network trained on the export is tested on the real folder
        assert [plain_name(folder) for folder in image_folder_classes(out)] == names
        assert image_folder_classes(out) == image_folder_classes(real)
    else:
        assert tuple(names) == content.class_names


def test_lgd_reads_its_own_exports(made: tuple[Path, Path], tmp_path: Path) -> None:
    real, run = made
    content = read_export(run)
    wanted = {pixels(s.path): s.class_name for s in content.samples}
    folder = export(run, "imagefolder", tmp_path / "folder")
    images = read_folder(folder, content.class_names, (1, 8, 8))
    assert {
        i.numpy().tobytes(): content.class_names[y] for i, y in zip(images.images, images.labels, strict=True)
    } == wanted
    table = next(export(run, "parquet", tmp_path / "parquet").glob("data/*.parquet"))
    splits = load_splits(DatasetConfig(source=f"parquet:{table},{table}"))
    names = splits.train.class_names
    found = {i.numpy().tobytes(): names[y] for i, y in zip(splits.train.images, splits.train.labels, strict=True)}
    assert (found, splits.class_order) == (wanted, content.class_names)
    assert load_splits(DatasetConfig(source=f"folder:{folder},{real}")).train.class_names == tuple(sorted(names))


@pytest.mark.parametrize(
    "name",
    ["żaba", "-a", "a b", "100%", "50%41", "a/b", "..", ".hidden", "__x", "con", "a:b?", "end.", "\x07", "x" * 300],
)
def test_a_folder_is_named_as_its_class(name: str, tmp_path: Path) -> None:
    folder = folder_name(name)
    (tmp_path / folder).mkdir()
    assert [path.name for path in tmp_path.iterdir()] == [folder]
    assert not folder.startswith((".", "__"))
    if name.isprintable() and len(name) < 100:
        assert plain_name(folder) == name


def test_classes_that_share_a_folder_are_refused(finished: Path) -> None:
    content = read_export(finished)
    names = ("Cat", "cat", *content.class_names[2:])
    samples = [replace(s, class_name=names[s.label]) for s in content.samples]
    with pytest.raises(UserError, match="classes 'Cat' and 'cat' share the folder 'cat' on systems that ignore case"):
        in_folders(replace(content, samples=samples, class_names=names))
