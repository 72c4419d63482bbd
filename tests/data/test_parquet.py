"""Parquet files as the Hub keeps them, and the Hub's own from the cache."""

from __future__ import annotations

import builtins
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from lgd import errors
from lgd.config import DatasetConfig
from lgd.data import parquet as parquet_source
from lgd.data.imageset import ImageSet, Splits
from lgd.data.splits import load_splits
from lgd.errors import UserError


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (8, 8), value).save(file, "PNG")
    return file.getvalue()


def values(images: ImageSet) -> list[tuple[str, int]]:
    grey = images.images[:, 0, 0, 0].tolist()
    return [(images.class_names[label], value) for label, value in zip(images.labels.tolist(), grey, strict=True)]


def images_of(grey: list[int]) -> list[dict[str, Any]]:
    return [{"bytes": png(value), "path": None} for value in grey]


def features(names: list[str], label: str = "label") -> dict[str, str]:
    kinds = {"image": {"_type": "Image"}, label: {"names": names, "_type": "ClassLabel"}}
    return {"huggingface": json.dumps({"info": {"features": kinds}})}


def write(path: Path, columns: dict[str, Any], names: list[str] | None = None, label: str = "label") -> str:
    made = pa.table(columns)
    parquet.write_table(made.replace_schema_metadata(features(names, label)) if names else made, path)
    return str(path)


def load(source: str, **options: Any) -> Splits:
    return load_splits(DatasetConfig(source=f"parquet:{source}", **options))


@pytest.fixture
def train(tmp_path: Path) -> str:
    return write(tmp_path / "train.parquet", {"image": images_of([0, 1, 2, 3]), "label": [1, 0, 0, 1]}, ["cat", "dog"])


def test_the_hub_s_form(train: str, tmp_path: Path) -> None:
    test = write(tmp_path / "test.parquet", {"image": images_of([9, 8]), "label": [0, 1]}, ["dog", "cat"])
    splits = load(f"{train},{test}")
    assert values(splits.train) == [("dog", 0), ("cat", 1), ("cat", 2), ("dog", 3)]
    assert splits.train.labels.tolist() == [1, 0, 0, 1]
    assert values(splits.test) == [("dog", 9), ("cat", 8)]  # its own numbers of the classes
    assert splits.test.class_names == ("cat", "dog")


def test_one_file_is_split(train: str) -> None:
    splits = load(train, test_fraction=0.5)
    assert splits.test.labels.bincount().tolist() == [1, 1]


def test_classes_and_their_order_can_be_chosen(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.parquet", {"image": images_of(list(range(6))), "label": [0, 1, 2] * 2}, ["cat", "dog", "emu"]
    )
    splits = load(f"{path},{path}", classes=("emu", "cat"))
    assert values(splits.train) == [("cat", 0), ("emu", 2), ("cat", 3), ("emu", 5)]
    assert splits.class_order == ("emu", "cat")


@pytest.mark.parametrize(
    ("columns", "options", "names"),
    [
        ({"image": [png(0), png(1)], "label": ["b", "a"]}, {}, ("a", "b")),
        ({"img": images_of([0, 1]), "label": [12, 3]}, {}, ("3", "12")),
        (
            {"id": [png(5), png(6)], "photo": images_of([0, 1]), "kind": ["b", "a"]},
            {"image_column": "photo", "label_column": "kind"},
            ("a", "b"),
        ),
        ({"photo": [png(0), png(1)], "thumb": [png(7)] * 2, "label": [1, 0]}, {"image_column": "photo"}, ("0", "1")),
    ],
)
def test_other_columns(
    columns: dict[str, Any], options: dict[str, str], names: tuple[str, ...], tmp_path: Path
) -> None:
    path = write(tmp_path / "x.parquet", columns)
    splits = load(f"{path},{path}", **options)
    assert splits.class_order == names
    assert values(splits.train) == [(names[1], 0), (names[0], 1)]


def test_a_folder_of_shards(tmp_path: Path) -> None:
    for shard in range(3):
        write(
            tmp_path / f"train-{shard}.parquet",
            {"image": images_of([shard, 10 + shard]), "label": [0, 1]}, ["cat", "dog"],
        )  # fmt: skip
    splits = load(f"{tmp_path},{tmp_path}")
    assert [value for _, value in values(splits.train)] == [0, 10, 1, 11, 2, 12]


def test_a_large_file_is_mapped(train: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the `datasets` library, whose messages are not ours."""
    expected = values(load(f"{train},{train}").train)
    monkeypatch.setattr(parquet_source, "LARGEST", 0)
    assert values(load(f"{train},{train}", size=8, channels=3).train) == expected


@pytest.mark.parametrize(
    ("columns", "names", "message"),
    [
        ({"picture": ["x", "y"], "label": [0, 1]}, None, "which column holds the images is not clear; it has picture"),
        ({"a": images_of([0, 1]), "b": images_of([0, 1]), "label": [0, 1]}, None, "Name one by dataset.image_column"),
        ({"image": images_of([0, 1]), "y": [0, 1]}, None, "which column holds the labels.* dataset.label_column"),
        ({"image": images_of([0, 1]), "label": [0.5, 1.5]}, None, "whole numbers or text, not double"),
        ({"image": images_of([0, 1]), "label": [0, None]}, None, "row 1: no label"),
        ({"image": images_of([0, 1]), "label": [0, 2]}, ["cat", "dog"], "row 1: no label, or one that is no class"),
        ({"image": images_of([0, 1]), "label": [-1, -1]}, ["cat", "dog"], "row 0: no label"),
        ({"image": images_of([0, 1]), "label": [0, 0]}, ["cat", "dog"], "no images of class 'dog'"),
        ({"image": images_of([0, 1]), "label": ["a", "a"]}, None, "only the class 'a'"),
        ({"image": [{"bytes": b"?", "path": None}] * 2, "label": [0, 1]}, None, "2 of 2 images .*row 0: not an image"),
        ({"image": [{"bytes": None, "path": "/etc/hostname"}] * 2, "label": [0, 1]}, None, "row 0: no image bytes"),
    ],
)
def test_what_does_not_fit_is_named(
    columns: dict[str, Any], names: list[str] | None, message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "x.parquet", columns, names)
    with pytest.raises(UserError, match=message) as caught:
        load(f"{path},{path}", size=8, channels=1)
    assert str(caught.value).startswith(path)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_parquet(train: str, tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("no")
    (tmp_path / "cut.parquet").write_bytes(Path(train).read_bytes()[:-40])
    (tmp_path / "empty").mkdir()
    for name, message in (
        ("text.parquet", "cannot be read as Parquet"),
        ("cut.parquet", "cannot be read as Parquet"),
        ("none.parquet", "no such file"),
        ("empty", "no .*parquet files in it"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            load(str(tmp_path / name))
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no column 'x'; it has image, label"):
        load(train, image_column="x")


@pytest.mark.parametrize("source", ["parquet:x.parquet", "hf:someone/something"])
def test_without_the_extra_it_says_what_to_install(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.split(".")[0] in ("pyarrow", "datasets"):
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr(errors, "import_module", without)
    with pytest.raises(UserError, match=r"need the extra hf: pip install 'lgd\[hf\]'"):
        load_splits(DatasetConfig(source=source))


COMMIT, OTHER = "1" * 40, "2" * 40


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of `datasets` that holds someone/something at COMMIT, and no way to the Hub."""
    import datasets

    files = {}
    for split, grey in (("train", [0, 1, 2, 3]), ("validation", [7, 8]), ("test", [5, 6])):
        labels = [-1, -1] if split == "test" else [0, 1] * (len(grey) // 2)
        files[split] = write(tmp_path / f"{split}.parquet", {"image": images_of(grey), "label": labels}, ["cat", "dog"])
    datasets.disable_progress_bars()
    datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "made"))
    made = next((tmp_path / "made" / "parquet").glob("*/*/*/dataset_info.json")).parent
    folder = tmp_path / "cache" / "someone___something" / "default" / "0.0.0" / COMMIT
    folder.parent.mkdir(parents=True)
    made.rename(folder)
    for file in folder.glob("parquet-*.arrow"):
        file.rename(folder / file.name.replace("parquet-", "something-"))
    info = json.loads((folder / "dataset_info.json").read_text())
    (folder / "dataset_info.json").write_text(json.dumps({**info, "config_name": "default"}))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def hub(name: str) -> Splits:
    return load_splits(DatasetConfig(source=f"hf:{name}"))


def test_the_hub_s_cache_serves_offline(cached: Path) -> None:
    splits = hub("someone/something")
    assert values(splits.train) == [("cat", 0), ("dog", 1), ("cat", 2), ("dog", 3)]
    assert values(splits.test) == [("cat", 7), ("dog", 8)]  # `test` has no labels
    assert values(hub(f"someone/something@{COMMIT}").train) == values(splits.train)


def test_what_is_not_in_the_cache_is_refused_offline(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    for name, message in (
        ("someone/else", "hf:someone/else: neither to be had from the Hub nor in the cache"),
        (f"someone/something@{OTHER}", f"the cache holds another revision, {COMMIT}"),
        ("someone/something@v1", f"the cache holds another revision, {COMMIT}"),
        ("../../etc", "a name on the Hub is OWNER/NAME"),
        ("a/b/c", "a name on the Hub is OWNER/NAME"),
        ("@main", "a name on the Hub is OWNER/NAME"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            hub(name)
        assert "\n" not in str(caught.value)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cached / "hub"))
    reference = cached / "hub" / "datasets--someone--something" / "refs" / "v1"
    reference.parent.mkdir(parents=True)
    reference.write_text(COMMIT)
    assert len(hub("someone/something@v1").train) == 4


def test_a_folder_of_the_same_name_is_not_taken_for_the_hub_s(cached: Path) -> None:
    (cached / "someone" / "something").mkdir(parents=True)
    with pytest.raises(UserError, match="there is a folder someone/something here"):
        hub("someone/something")
