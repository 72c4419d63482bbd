"""Tables as the Hub and other writers lay them out: files, folders, schemas, labels."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.data.drawn import encoded, load, sizes

from lgd.data.imageset import Splits
from lgd.errors import UserError

NAMES = ("cat", "dog", "owl")


def images(count: int, start: int = 0) -> list[bytes]:
    return [encoded(start + i) for i in range(count)]


def table(count: int, start: int = 0, **columns: Any) -> pa.Table:
    return pa.table({"image": images(count, start), "label": [i % 3 for i in range(count)], **columns})


def write(path: Path, rows: pa.Table, names: tuple[str, ...] = ()) -> Path:
    """names: as `datasets` writes them beside a schema."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if names:
        features = {"image": {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}
        rows = rows.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    parquet.write_table(rows, path)
    return path


def read(source: object, **options: Any) -> Splits:
    return load(f"parquet:{source}", **options)


@pytest.mark.parametrize(
    "files",
    [
        ("train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "test-00000-of-00001.parquet"),
        ("data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/test-00000-of-00001.parquet"),
        ("default/train/0000.parquet", "default/train/0001.parquet", "default/test/0000.parquet"),
        ("split=train/part-0.parquet", "split=train/part-1.parquet", "split=validation/part-0.parquet"),
        ("cifar_TRAIN_1.parquet", "cifar_TRAIN_2.parquet", "cifar_VAL.parquet"),
        ("Training/a.parq", "Training/b.PARQUET", "Testing/a.pq"),
        ("_SUCCESS/x", "train.parquet/part-00000-2f3c.snappy.parquet", "train.parquet/part-1.parquet", "test.parquet"),
    ],
)
def test_parts_by_the_names_that_writers_give(files: tuple[str, ...], tmp_path: Path) -> None:
    *_, first, second, test = files
    write(tmp_path / first, table(15))
    write(tmp_path / second, table(15, 15))
    write(tmp_path / test, table(18, 30))
    assert sizes(read(tmp_path)) == (30, 18, ("0", "1", "2"))


def test_patterns(tmp_path: Path) -> None:
    for name, count in (("train-0", 6), ("train-1", 6), ("test-0", 3), ("extra-0", 9)):
        write(tmp_path / "data" / f"{name}.parquet", table(count, 10 * count))
    data = tmp_path / "data"
    assert sizes(read(f"{data}/train-*.parquet,{data}/test-*.parquet"))[:2] == (12, 3)
    assert sizes(read(f"{data}/t*.parquet"))[:2] == (12, 3)
    assert sizes(read(f"{tmp_path}/**/train-[0-9].parquet"))[:2] == (9, 3)
    with pytest.raises(UserError, match=r"valid-\*.parquet: no file matches"):
        read(f"{data}/train-*.parquet,{data}/valid-*.parquet")
    with pytest.raises(UserError, match=r"data: it holds the parts test and train; give a pattern for each"):
        read(f"{data},{data}")


def test_files_that_are_not_read_are_mentioned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("train-0", "test-0", "validation-0", "extra-0"):
        write(tmp_path / f"{name}.parquet", table(6))
    (tmp_path / "README.md").write_text("")
    assert sizes(read(tmp_path))[:2] == (6, 6)
    assert "train and test files are read; left out:" in caplog.text
    assert "1 validation" in caplog.text
    assert "1 other" in caplog.text
    assert "files left out: 1 .md" in caplog.text


def test_folders_of_values_are_columns(tmp_path: Path) -> None:
    """As Spark and pyarrow write partitions; a class may be called train."""
    for k, name in enumerate(("caf%C3%A9", "train", "tea")):
        write(tmp_path / f"label={name}" / "part-0.parquet", pa.table({"image": images(4, 10 * k)}))
    assert sizes(read(tmp_path)) == (9, 3, ("café", "tea", "train"))


def test_several_sets_in_one_folder_are_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for config, count in (("full", 9), ("tiny", 6)):
        for part in ("train", "test"):
            write(tmp_path / config / f"{part}-0.parquet", table(count))
    with pytest.raises(UserError, match=r"several sets in it: full, tiny; name one: parquet:.*/full"):
        read(tmp_path)
    assert sizes(read(tmp_path / "tiny"))[:2] == (6, 6)
    for part in ("train", "test"):
        write(tmp_path / f"{part}-0.parquet", table(3))
    assert sizes(read(tmp_path))[:2] == (3, 3)
    assert "Parquet files left out: 2 in full, 2 in tiny" in caplog.text


def test_a_test_part_alone_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "test-0.parquet", table(6))
    write(tmp_path / "rest.parquet", table(6))
    with pytest.raises(UserError, match=r"test-0.parquet is a test part by its name, but no file is the training part"):
        read(tmp_path)


@pytest.mark.parametrize("column", ["split", "Usage", "set"])
def test_parts_by_a_column(column: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    values = ["Training", "Training", "PublicTest"] * 8
    rows = pa.table({"image": images(24), "label": [0, 1, 0] * 4 + [0, 1, 1] * 4, column: values})
    path = write(tmp_path / "fer.parquet", rows)
    splits = read(path)
    assert sizes(splits) == (16, 8, ("0", "1"))
    assert splits.train.labels.tolist() == [0, 1] * 8
    rows = pa.table({"image": images(24), "label": [0, 1] * 12, column: ["train"] * 12 + ["val"] * 6 + ["test"] * 6})
    assert sizes(read(write(tmp_path / "three.parquet", rows)))[:2] == (12, 6)
    assert "left out: 6 rows" in caplog.text


def as_int32(rows: pa.Table) -> pa.Table:
    return rows.set_column(1, "label", rows["label"].cast(pa.int32()))


def as_uint8(rows: pa.Table) -> pa.Table:
    return rows.set_column(1, "label", rows["label"].cast(pa.uint8()))


def other_order(rows: pa.Table) -> pa.Table:
    return rows.select(["label", "image"])


def large(rows: pa.Table) -> pa.Table:
    return rows.set_column(0, "image", rows["image"].cast(pa.large_binary()))


def structs(rows: pa.Table) -> pa.Table:
    values = [{"bytes": one.as_py(), "path": None} for one in rows["image"]]
    return rows.set_column(0, "image", pa.array(values))


@pytest.mark.parametrize("change", [as_int32, as_uint8, other_order, large, structs])
def test_shards_whose_schemas_differ(change: Callable[[pa.Table], pa.Table], tmp_path: Path) -> None:
    write(tmp_path / "plain" / "a.parquet", table(6))
    write(tmp_path / "plain" / "b.parquet", table(6, 6))
    write(tmp_path / "other" / "a.parquet", table(6))
    write(tmp_path / "other" / "b.parquet", change(table(6, 6, more=[1] * 6)))
    plain, other = read(tmp_path / "plain"), read(tmp_path / "other")
    assert plain.train.digest() == other.train.digest()
    assert sizes(plain)[:2] == (9, 3)


def text(kind: Any) -> Callable[[list[int]], Any]:
    return lambda numbers: pa.array([NAMES[number] for number in numbers]).cast(kind)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (lambda n: pa.array(n, pa.int16()), ("0", "1", "2")),
        (lambda n: pa.array(n, pa.float64()), ("0", "1", "2")),
        (lambda n: pa.array([i > 0 for i in n]), ("False", "True")),
        (text(pa.string()), NAMES),
        (text(pa.large_string()), NAMES),
        (text(pa.string_view()), NAMES),
        (text(pa.binary()), NAMES),
        (lambda n: pa.array([NAMES[i] for i in n]).dictionary_encode(), NAMES),
        (lambda n: pa.array([10 * i for i in n]).dictionary_encode(), ("0", "10", "20")),
    ],
)
def test_labels_of_every_type(labels: Callable[[list[int]], Any], classes: tuple[str, ...], tmp_path: Path) -> None:
    numbers = [i % 3 for i in range(12)]
    path = write(tmp_path / "x.parquet", pa.table({"image": images(12), "label": labels(numbers)}))
    splits = read(f"{path},{path}")
    assert splits.train.class_names == classes
    expected = [min(i, len(classes) - 1) for i in numbers]
    assert splits.train.labels.tolist() == expected


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view()])
def test_images_of_every_type_of_bytes(kind: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", pa.table({"image": pa.array(images(6)).cast(kind), "label": [0, 1] * 3}))
    assert sizes(read(f"{path},{path}"))[:2] == (6, 6)


def test_a_missing_label_among_floats_is_named(tmp_path: Path) -> None:
    rows = pa.table({"image": images(4), "label": [0.0, 1.0, float("nan"), 1.0]})
    with pytest.raises(UserError, match=r"x.parquet, row 2: no label"):
        read(write(tmp_path / "x.parquet", rows))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([list(range(9))] * 6, r"column 'image' holds lists of int64, not encoded images"),
        (pa.array([[0.5] * 4] * 6, pa.list_(pa.float32(), 4)), r"column 'image' holds lists of float, not encoded"),
        (
            [f"images/{i}.png" for i in range(6)],
            r"column 'image' holds text, such as file names",
        ),
        (
            pa.array([f"{i}" for i in range(6)]).dictionary_encode(),
            r"column 'image' holds dictionary.*not encoded images",
        ),
        ([{"path": "x.png"}] * 6, r"column 'image' holds struct.*not encoded images"),
        ([1, 2, 3, 4, 5, 6], r"column 'image' holds int64, not encoded images"),
        ([[encoded(0)]] * 6, r"column 'image' holds lists of binary"),
        (pa.nulls(6), r"column 'image' holds null"),
    ],
)
def test_columns_of_other_things_are_named(column: Any, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", pa.table({"image": column, "label": [0, 1] * 3}))
    for options in ({}, {"image_column": "image"}):
        with pytest.raises(UserError, match=message) as caught:
            read(path, **options)
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)


def test_the_only_column_of_bytes_holds_the_images(tmp_path: Path) -> None:
    rows = pa.table({"image": ["0.png"] * 6, "content": images(6), "label": [0, 1] * 3})
    path = write(tmp_path / "x.parquet", rows)
    assert sizes(read(f"{path},{path}"))[:2] == (6, 6)


@pytest.mark.parametrize(
    ("columns", "names", "message"),
    [
        (
            ["image", "label"],
            NAMES[::-1],
            r"b.parquet, column 'label': other kinds or names of classes than in .*a.p",
        ),
        (["image", "y"], (), r"b.parquet: no column 'label', unlike .*a.parquet"),
        (["x", "label"], (), r"b.parquet: no column 'image', unlike .*a.parquet"),
    ],
)
def test_shards_that_do_not_fit_are_named(
    columns: list[str], names: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    write(tmp_path / "a.parquet", table(6), NAMES)
    write(tmp_path / "b.parquet", table(6).rename_columns(columns), names)
    with pytest.raises(UserError, match=message):
        read(tmp_path)


def test_rows_are_named_by_their_file(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", table(6))
    rows = table(6, 6)
    data = rows["image"].to_pylist()
    data[4] = b"?"
    write(tmp_path / "b.parquet", rows.set_column(0, "image", pa.array(data)))
    with pytest.raises(UserError, match=r"1 of 12 images cannot be used: .*/b.parquet, row 4: not an image"):
        read(tmp_path)


def test_names_are_one_class_in_normalised_unicode(tmp_path: Path) -> None:
    mixed = ["caf\u00e9", "cafe\u0301", "tea", "tea"] * 3
    path = write(tmp_path / "x.parquet", pa.table({"image": images(12), "label": mixed}))
    splits = read(f"{path},{path}")
    assert splits.train.class_names == ("caf\u00e9", "tea")
    assert splits.train.labels.tolist() == [0, 0, 1, 1] * 3
    assert read(f"{path},{path}", classes=("tea", "cafe\u0301")).class_order == ("tea", "caf\u00e9")
