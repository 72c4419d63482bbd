"""Configurations and revisions of one set of the Hub, in the cache and on the Hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.data.drawn import encoded, load, sizes

from lgd.errors import UserError

ONE, TWO, THREE = ("1" * 40, "2" * 40, "3" * 40)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of `datasets`, and no way to the Hub."""
    import datasets
    from huggingface_hub import constants

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(cache: Path, config: str, revision: str, count: int, splits: tuple[str, ...] = ("train",)) -> None:
    """Leave a configuration of me/animals as a past download does."""
    import datasets

    features = {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog", "owl"], "_type": "ClassLabel"}}
    rows = pa.table({"image": [encoded(i) for i in range(count)], "label": [i % 3 for i in range(count)]})
    path = cache / f"{config}-{revision}.parquet"
    parquet.write_table(
        rows.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}), path
    )
    datasets.disable_progress_bars()
    made = cache / f"made-{config}-{revision}"
    datasets.load_dataset("parquet", data_files=dict.fromkeys(splits, str(path)), cache_dir=str(made))
    source = next((made / "parquet").glob("*/*/*/dataset_info.json")).parent
    folder = cache / "cache" / "me___animals" / config / "0.0.0" / revision
    folder.parent.mkdir(parents=True, exist_ok=True)
    source.rename(folder)
    for file in folder.glob("parquet-*.arrow"):
        file.rename(folder / file.name.replace("parquet-", "animals-"))
    info = json.loads((folder / "dataset_info.json").read_text())
    (folder / "dataset_info.json").write_text(json.dumps({**info, "config_name": config}))


def images(name: str) -> int:
    train, test, _ = sizes(load(f"hf:{name}"))
    return train + test


def test_several_configurations_are_told_apart(cache: Path) -> None:
    put(cache, "full", ONE, 48)
    put(cache, "tiny", TWO, 9)
    with pytest.raises(UserError, match=rf"configurations in the cache: full@{ONE}, tiny@{TWO}; name one: hf:me/"):
        images("me/animals")
    assert images("me/animals:full") == 48
    assert images("me/animals:tiny") == 9
    assert images(f"me/animals@{ONE}") == 48
    assert images(f"me/animals:tiny@{TWO}") == 9
    for name, message in (
        (f"me/animals:tiny@{ONE}", f"the cache holds another revision, {TWO}"),
        (f"me/animals@{THREE}", f"the cache holds another revision, {ONE}, {TWO}"),
        ("me/animals:none", "the cache has no configuration 'none': full@"),
        ("me/animals@:full", "a name on the Hub is OWNER/NAME"),
        ("me/animals@x:full", "a name on the Hub is OWNER/NAME"),
        ("me/animals:a:b", "a name on the Hub is OWNER/NAME"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            images(name)
        assert "\n" not in str(caught.value)


def test_configurations_of_one_revision(cache: Path) -> None:
    put(cache, "full", ONE, 48)
    put(cache, "tiny", ONE, 9)
    with pytest.raises(UserError, match="several configurations in the cache"):
        images(f"me/animals@{ONE}")
    assert images(f"me/animals:tiny@{ONE}") == 9


def test_several_revisions(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(cache, "default", ONE, 12)
    put(cache, "default", TWO, 9)
    assert images("me/animals") == 9  # the latest download
    assert f"of 2 cached revisions {TWO} is read" in caplog.text
    reference = cache / "hub" / "datasets--me--animals" / "refs" / "main"
    reference.parent.mkdir(parents=True)
    reference.write_text(ONE)
    assert images("me/animals") == 12  # what the main branch was when the Hub was last asked
    assert images(f"me/animals@{TWO}") == 9


def test_splits_by_other_names_and_those_left_out(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(cache, "default", ONE, 9, ("training", "testing", "extra"))
    assert sizes(load("hf:me/animals"))[:2] == (9, 9)
    assert "splits training and testing are read; left out: extra" in caplog.text


class FakeBuilder:
    """A set of two configurations on the Hub, of which one is the default."""

    def __init__(self, name: str, builder: Any) -> None:
        self.config = type("Config", (), {"name": name})()
        self.builder_configs = {"full": None, "tiny": None}
        self.hash = builder.hash
        self.download_and_prepare = builder.download_and_prepare
        self.as_dataset = builder.as_dataset


def test_on_the_hub(cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    import datasets

    from lgd.data.hub import cached as configurations
    from lgd.data.hub import from_cache

    put(cache, "full", ONE, 12)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    asked = []

    def load_builder(name: str, config: str | None, revision: str | None) -> FakeBuilder:
        asked.append((name, config, revision))
        if config == "missing":
            raise ValueError("BuilderConfig 'missing' not found. Available: ['full', 'tiny']")
        if revision == "v2":
            raise ValueError("Config name is missing.\nPlease pick one among the available configs: ['full', 'tiny']")
        one = configurations(name, cache / "cache")[0]
        return FakeBuilder(config or "full", from_cache(name, one))

    monkeypatch.setattr(datasets, "load_dataset_builder", load_builder)
    assert images("me/animals") == 12
    assert "configuration full is read; others: tiny" in caplog.text
    assert images("me/animals:full@v1") == 12
    assert asked == [("me/animals", None, None), ("me/animals", "full", "v1")]
    with pytest.raises(UserError, match=r"name a configuration, as in hf:me/animals:CONFIG: .*\['full', 'tiny'\]"):
        images("me/animals@v2")
    with pytest.raises(UserError, match=r"nor in the cache .*'missing' not found"):
        images("me/animals:missing")
