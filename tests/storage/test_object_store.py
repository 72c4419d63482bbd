"""Runs at a URL: the same bytes as in a directory, complete at every moment, and one writer."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec.core import url_to_fs
from tests.cli.test_main import toml
from tests.execution.test_ray import made
from tests.kills import killed_when
from tests.machines import TwoMachines

import lgd
from lgd.cli.main import main
from lgd.config import Config, with_values
from lgd.errors import UserError
from lgd.experiments.distill import distill
from lgd.storage.files import write_json, write_text
from lgd.storage.object_store import Mirror, fetched, workspace

pytestmark = pytest.mark.xdist_group("ray")


@pytest.fixture
def url(store: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """Return a URL for this test alone."""
    place = f"{store}/{request.node.name.replace('[', '-').rstrip(']')}"
    yield place
    files, base = url_to_fs(place)
    if files.exists(base):
        files.rm(base, recursive=True)


@pytest.fixture(scope="module")
def small(tiny: Config) -> Config:
    """Return a configuration of few files: the server takes a hundredth of a second for each."""
    one = ("stages.images_per_increment", "stages.learners", "evaluation.seeds")
    return with_values(tiny, {**dict.fromkeys(one, 1), "stages.increments": 2, "evaluation.redundancy_seeds": 0})


@pytest.fixture(scope="module")
def expected(small: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of the same run without a store."""
    return distill(small, tmp_path_factory.mktemp("small") / "run").root


def contents(url: str) -> dict[str, bytes]:
    files, base = url_to_fs(url)
    files.invalidate_cache()
    return {path[len(base) + 1 :]: files.cat_file(path) for path in files.find(base)}


def names(url: str) -> set[str]:
    files, base = url_to_fs(url)
    files.invalidate_cache()
    return {path[len(base) + 1 :] for path in files.find(base)}


def of_a_run(found: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in found.items() if k.split("/")[0] in ("increments", "dataset", "evaluation")}


@pytest.mark.usefixtures("forked_workers")
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_a_run_at_a_url_has_the_bytes_of_one_in_a_directory(
    engine: str, url: str, small: Config, expected: Path, machines: TwoMachines
) -> None:
    config = with_values(small, {"compute.engine": engine, "compute.address": machines.address, "compute.workers": 2})
    distill(config, url)
    found = contents(url)
    assert of_a_run(found) == made(expected)
    here = {str(path.relative_to(expected)) for path in expected.rglob("*") if path.is_file()}
    assert set(found) == here - {".lock"}
    assert len(lgd.load(url)) == 20
    before = of_a_run(changed(url))
    assert set(before) == set(of_a_run(found))
    distill(with_values(config, {"compute.workers": 1}), url)  # again: nothing finished is sent again
    assert of_a_run(changed(url)) == before


def changed(url: str) -> dict[str, Any]:
    """Return when each file was last written."""
    files, base = url_to_fs(url)
    files.invalidate_cache()
    return {path[len(base) + 1 :]: entry["LastModified"] for path, entry in files.find(base, detail=True).items()}


def test_a_killed_run_goes_on_from_what_the_store_has(url: str, small: Config, expected: Path, tmp_path: Path) -> None:
    """Continues on a machine without the local copy of the killed process."""
    preset = toml(small, tmp_path / "small.toml")
    command = ["distill", str(preset), "--out", url, "--quiet"]
    assert killed_when(lambda: "increments/02/groups/0000.json" in names(url), command)
    before = contents(url)
    assert ".lock" in before
    assert "dataset/metadata.csv" not in before
    assert main(command) == 0
    found = contents(url)
    assert without_receipts(of_a_run(found)) == without_receipts(made(expected))
    assert ".lock" not in found


def without_receipts(found: dict[str, bytes]) -> dict[str, bytes]:
    """A kill just after a `done` file prevents one."""
    return {name: data for name, data in found.items() if not name.endswith(".sha256")}


def test_the_lock_names_its_holder(url: str, tiny: Config) -> None:
    with workspace(url), pytest.raises(UserError, match=rf"in use by process {os.getpid()} on {platform.node()};"):
        distill(tiny, url)
    files, base = url_to_fs(url)
    files.pipe_file(f"{base}/.lock", json.dumps({"process": 7, "machine": "elsewhere"}).encode())
    with pytest.raises(UserError, match=rf"process 7 on elsewhere; if that is gone, delete {url}/.lock"):
        distill(tiny, url)


def test_a_foreign_place_is_left_alone_and_overwrite_empties_ours(url: str) -> None:
    files, base = url_to_fs(url)
    files.pipe_file(f"{base}/thesis.tex", b"years of work")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="was not made by lgd"), workspace(url, overwrite):
            pass
    assert contents(url) == {"thesis.tex": b"years of work"}
    files.pipe_file(f"{base}/config.json", b"{}")
    with workspace(url, overwrite=True) as root:
        assert not (root / "thesis.tex").exists()
        assert contents(url).keys() == {".lock"}


def test_files_arrive_in_their_order_and_a_done_file_after_what_lies_beside_it(url: str, tmp_path: Path) -> None:
    one, other = Mirror(tmp_path / "a" / "run", url), Mirror(tmp_path / "b" / "run", url)
    with one.sending():
        write_json(one.root / "x" / "0.json", 1)
        (one.root / "x" / "weights").write_bytes(b"written by other software")
        assert contents(url).keys() == {"x/0.json"}
        write_text(one.root / "x" / "done", "")
    assert contents(url).keys() == {"x/0.json", "x/weights", "x/done"}
    other.fetch("phase 1")
    assert (other.root / "x" / "weights").read_bytes() == b"written by other software"
    write_json(one.root / "y.json", 2)
    one.send(one.root / "y.json")
    other.fetch("phase 1")
    assert not (other.root / "y.json").exists()
    other.fetch("phase 2")
    assert (other.root / "y.json").exists()


def test_a_name_that_leads_out_is_refused(tmp_path: Path) -> None:
    files, base = url_to_fs("memory://hostile/run")
    files.store[f"{base}/../../../tmp/escaped"] = files.open(f"{base}/x", "wb")
    with pytest.raises(UserError, match="unsafe name"):
        Mirror(tmp_path / "run", "memory://hostile/run").fetch("now")
    files.store.clear()


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("s4://bucket/run", "s4://bucket/run: cannot be opened: Protocol not known: s4"),
        ("s3://no-such-bucket/run", "cannot write to s3://no-such-bucket/run: The specified bucket does not exist"),
    ],
)
def test_a_store_that_cannot_be_opened_is_one_line(
    place: str, message: str, store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["distill", "digits", "--out", place]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_reading_what_is_not_there(store: str) -> None:
    with pytest.raises(UserError, match="nothing there"), fetched(f"{store}/nothing"):
        pass
