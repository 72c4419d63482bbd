"""The functions of `lgd` on images in memory, with networks and methods of the user's own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from tests.factories import no_network, perceptron, three_logits
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import lgd
from lgd.classifiers.architectures import Classifier, features_and_logits
from lgd.cli.main import main
from lgd.config import Config
from lgd.data.imageset import ImageSet
from lgd.distillation.methods import METHODS, Method
from lgd.errors import UserError
from lgd.experiments.status import run_status
from lgd.storage.files import read_json

DIGITS = load_digits()
IMAGES, LABELS = (DIGITS.images[:300] / 16).astype(np.float32), DIGITS.target[:300]
TEST = (DIGITS.images[300:400] / 16).astype(np.float32), DIGITS.target[300:400]
QUICK: dict[str, Any] = {"reference__training__epochs": 1, "reference__width": 8, "judge__training__epochs": 1}
ONCE = {"evaluation.classifier.training.epochs": 2, "evaluation.classifier.width": 8, "compute.workers": 1}


def test_everything_is_visible_and_nothing_heavy_is_loaded() -> None:
    names = {"Config", "ImageSet", "analyze", "compare", "distill", "evaluate", "export", "guidance", "load", "report"}
    assert names | {"ImageSelector", "Method", "load_config", "select", "UserError"} <= set(dir(lgd))
    for name in dir(lgd):
        assert getattr(lgd, name) is not None
    heavy = "import lgd, sys; dir(lgd); print({'torch', 'matplotlib', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True).stdout == "set()\n"


@pytest.fixture(scope="module")
def run(tiny: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Distil a torch dataset with the user's own network as learner."""
    out = tmp_path_factory.mktemp("memory") / "run"
    return distil(tiny, out)


def distil(tiny: Config, out: Path) -> Path:
    data = TensorDataset(torch.from_numpy(IMAGES)[:, None], torch.from_numpy(LABELS))
    values = {
        "generator": tiny.generator, "reference": tiny.reference, "sampling": tiny.sampling, "compute": tiny.compute,
        "guidance": tiny.guidance, "judge": tiny.judge, "evaluation": tiny.evaluation, "stages": tiny.stages,
        "learner__architecture": perceptron, "learner__training__epochs": 2,
    }  # fmt: skip
    return lgd.distill(data, out, test=TEST, per_class=4, increments=2, seed=3, **values).root


def test_a_set_is_distilled_from_memory_and_continues(run: Path, tiny: Config) -> None:
    """The same images give the same source, so that the same call finds the run finished; worker files are those."""
    before = {path: path.read_bytes() for path in run.rglob("*.png")}
    data = lgd.load(run)
    assert data.targets == sorted(data.targets[:20]) * 2
    assert len(data) == sum("dataset" in path.parts for path in before) == 40
    assert "lgd, 4 images per class, " in repr(data)
    config = read_json(run / "config.json")
    assert (config["seed"], config["learner"]["architecture"]) == (3, "tests.factories:perceptron")
    assert read_json(run / "images.json")["test"]["images"] == len(TEST[0])
    (run / "metrics.json").unlink()
    distil(tiny, run)
    assert {path: path.read_bytes() for path in run.rglob("*.png")} == before
    with pytest.raises(UserError, match=r"dataset.source \('arrays:"):
        lgd.distill(IMAGES[:200], run, labels=LABELS[:200])


@pytest.mark.parametrize("to", ["imagefolder", "hf", "parquet", "webdataset", "pt"])
def test_an_export_is_loaded_as_the_run_is(to: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, data = lgd.export(run, to, tmp_path / to), lgd.load(run)

    def downloaded(name: str, repo_type: str) -> str:
        assert (name, repo_type) == ("owner/digits", "dataset")
        return str(out)

    monkeypatch.setattr("huggingface_hub.snapshot_download", downloaded)
    for place in (out, "owner/digits"):
        loaded = lgd.load(place, transform=lambda image: 1 - image)
        assert loaded.classes == data.classes
        kept = {(label, image.numpy().tobytes()) for image, label in ((1 - x, y) for x, y in data)}
        assert {(label, image.numpy().tobytes()) for image, label in loaded} == kept


def test_tensors_are_loaded(finished: Path, tmp_path: Path) -> None:
    """Normalised ones exactly; those of other programs without class names; unknown statistics are told."""
    data = lgd.load(finished)
    out = lgd.export(finished, "pt", tmp_path / "out", statistics="0.4/0.3")
    assert torch.load(out / "images.pt", weights_only=True).min() < -1
    loaded = lgd.load(out)
    assert sorted((y, x.numpy().tobytes()) for x, y in loaded) == sorted((y, x.numpy().tobytes()) for x, y in data)
    (out / "normalisation.json").unlink()
    with pytest.raises(UserError, match=r"images.pt: values from -1.33 to .*, normalised by statistics that"):
        lgd.load(out)
    assert lgd.evaluate(out, "digits", 1, ONCE)["images"] == len(data)
    pixels, labels = torch.rand(6, 5, 5, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    for labels_or_logits in (labels, torch.nn.functional.one_hot(labels) - 0.5):
        torch.save({"images": pixels, "labels": labels_or_logits}, tmp_path / "theirs.pt")
        theirs = lgd.load(tmp_path / "theirs.pt")
        assert (theirs.classes, theirs.targets) == (["0", "1", "2"], labels.tolist())
        assert torch.allclose(theirs[4][0], pixels[4].permute(2, 0, 1), atol=0.5 / 255)
    torch.save(pixels, tmp_path / "theirs.pt")
    with pytest.raises(UserError, match=r"theirs.pt: no pair of images and labels"):
        lgd.load(tmp_path / "theirs.pt")


def test_the_folder_of_images_of_a_run_is_loaded(finished: Path) -> None:
    assert lgd.load(finished / "dataset").targets == lgd.load(finished).targets


def test_a_table_without_a_class_is_told(finished: Path, tmp_path: Path) -> None:
    """All images of a class and their rows were deleted; with the list of names the others are read."""
    folder = shutil.copytree(finished / "dataset", tmp_path / "dataset")
    header, *rows = (folder / "metadata.csv").read_text().splitlines()
    kept = [row for row in rows if row.split(",")[1] != "3"]
    (folder / "metadata.csv").write_text("\n".join([header, *kept]))
    with pytest.raises(UserError, match=r"metadata\.csv: no image with label 3, so its class has no name; restore"):
        lgd.load(folder)
    (folder / "classes.json").write_text(json.dumps([*"0123456789"]))
    assert 0 < len(lgd.load(folder)) == len(kept) < len(rows)


def test_a_set_is_one_for_a_data_loader() -> None:
    images = lgd.ImageSet.from_arrays(IMAGES, LABELS)
    batch, labels = next(iter(DataLoader(images, batch_size=4)))
    assert torch.allclose(batch[:, 0], torch.from_numpy(IMAGES[:4]), atol=0.5 / 255)
    assert labels.tolist() == LABELS[:4].tolist()
    assert images[-1][1] == LABELS[-1]
    with pytest.raises(IndexError):
        images[300]


PLAUSIBLE: dict[str, tuple[Callable[[], Any], str]] = {
    "another word for a setting": (
        lambda: lgd.distill("digits", "out", ipc=3),
        "unknown setting 'ipc'; known: compute, .*per_class, .*; fields inside: guidance__omega=0.5",
    ),
    "a folder's path as a source": (lambda: lgd.read_images("/"), "unknown '/'; did you mean folder:/"),
    "a validation part": (lambda: lgd.read_images("digits", "val"), "part: must be train or test, not 'val'"),  # type: ignore[arg-type]
    "no test images": (lambda: lgd.evaluate((IMAGES, LABELS)), "images in memory: no run of lgd; name the test set"),
    "one method as text": (lambda: lgd.compare("digits", "ldg", "out"), "unknown method 'ldg'; did you mean 'lgd'"),
    "too many": (lambda: lgd.select(IMAGES, LABELS, 99, "random"), "fewer than the 99 asked for; lower the number of"),
}


@pytest.mark.parametrize("case", PLAUSIBLE)
def test_plausible_mistakes_are_told(case: str) -> None:
    call, message = PLAUSIBLE[case]
    with pytest.raises(UserError, match=message):
        call()


def test_a_misspelt_name_and_an_unfitted_selector() -> None:
    with pytest.raises(AttributeError) as found:
        lgd.destill  # noqa: B018
    assert (found.value.name, found.value.obj) == ("destill", lgd)  # with which Python proposes `distill`
    with pytest.raises(NotFittedError):
        lgd.ImageSelector().get_support()


def test_what_is_no_set_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs" / "lgd-seed0").mkdir(parents=True)
    (tmp_path / "runs" / "lgd-seed0" / "config.json").write_text("{}")
    (tmp_path / "empty").mkdir()

    def offline(name: str, repo_type: str) -> str:
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    for place, message in (
        (tmp_path / "runs", "holds 1 runs; load one of them"),
        (tmp_path / "empty", "neither a run nor an export of lgd"),
        (tmp_path / "none", "no such directory"),
        ("owner/none", "no such directory, and not to be had from the Hub: no network"),
    ):
        with pytest.raises(UserError, match=message):
            lgd.load(place)


def test_random_images_are_selected_by_their_positions() -> None:
    found = lgd.select(IMAGES, LABELS, per_class=7, method="random", seed=1)
    assert np.array_equal(LABELS[found.indices], found.targets)
    assert np.array_equal((np.stack([x[0] for x, _ in found]) * 255).round(), (IMAGES[found.indices] * 255).round())
    assert np.bincount(found.targets).tolist() == [7] * 10
    assert len(set(found.indices)) == 70
    assert set(found.indices) != set(lgd.select(IMAGES, LABELS, per_class=7, method="random", seed=2).indices)


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if not method.needs_generator])
def test_every_method_of_real_images_selects(method: str, tmp_path: Path) -> None:
    """With a reference at most: nothing asks the judge."""
    if METHODS[method].fixed_size:
        pytest.skip("takes every image")
    settings = {**QUICK, "learner__training__epochs": 1}
    chosen = lgd.select((IMAGES, LABELS), per_class=2, method=method, out=tmp_path / "run", **settings).indices
    assert (tmp_path / "run/reference.safetensors").exists() == METHODS[method].needs_reference
    assert not (tmp_path / "run/judge.safetensors").exists()
    assert run_status(tmp_path / "run").startswith(f"{tmp_path / 'run'}: finished, a selection of real images\n")
    assert np.bincount(LABELS[chosen]).tolist() == [2] * 10
    assert len(set(chosen)) == 20


def test_orders_and_losses_of_a_class_take_one_pass_of_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[int] = []

    def counted(classifier: Classifier, images: ImageSet) -> tuple[Tensor, Tensor]:
        passes.append(len(images))
        return features_and_logits(classifier, images)

    monkeypatch.setattr("lgd.distillation.judge.features_and_logits", counted)
    quick = {"learner__training__epochs": 1, **QUICK}
    lgd.select((IMAGES, LABELS), per_class=2, method="lgd-real", increments=2, **quick)
    assert passes == np.bincount(LABELS).tolist()


def test_a_selector_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    selector = clone(lgd.ImageSelector(per_class=3, method="random", seed=1)).fit(IMAGES, LABELS)
    mask = selector.get_support()
    assert mask.sum() == 30
    assert np.array_equal(np.flatnonzero(mask), selector.get_support(indices=True))
    images, labels = selector.fit_resample(IMAGES, LABELS)
    assert np.array_equal(images, IMAGES[mask])
    assert np.array_equal(labels, LABELS[mask])


def test_select_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same command finds its work done; a method that samples is refused."""
    out = str(tmp_path / "out")
    command = ["select", "digits", "--per-class", "2", "--out", out, "--quiet"]
    quick = ["--reference.training.epochs", "1", "--reference.width", "8"]
    for _ in range(2):
        assert main([*command, *quick]) == 0
        assert capsys.readouterr().out == f"{out}/dataset: 20 real images of 10 classes by herding\n"
    assert main(["status", out]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"{out}: finished, a selection of real images\n")
    assert [line.split()[1].strip(",") for line in told.splitlines()[1:]] == ["reference", "increment"]
    next(Path(out).glob("increments/01/groups/*.json")).unlink()
    assert main(["status", out]) == 0
    assert "not running; next: increment 1, class groups" in capsys.readouterr().out
    assert len(lgd.load(out)) == 20
    assert not (tmp_path / "out" / "judge.safetensors").exists()  # nothing is judged
    assert main(["export", out, "--to", "hf", "--out", out + "-export"]) == 2
    assert f"{out}: not evaluated, so it has no card yet; {out}/dataset is a folder" in capsys.readouterr().err
    assert main([*command[:2], "--ipc", "3", "--out", out, "--quiet", *quick]) == 2
    assert "stages.images_per_increment (2 there, 3 here)" in capsys.readouterr().err
    assert main([*command, *quick, "--method", "dit"]) == 2
    assert "method 'dit' samples from a generator; to select real images: " in capsys.readouterr().err


def test_images_in_memory_are_evaluated(run: Path) -> None:
    """A run, its images in memory, and their arrays teach the same; test images in memory are those of the run."""
    data = lgd.load(run)
    arrays = data.images.images.numpy(), data.targets
    found = [lgd.evaluate(images, TEST, 1, ONCE)["accuracy"]["mean"] for images in (run, data, arrays)]
    assert found[0] == found[1] == found[2]
    assert lgd.evaluate(data, "digits", 1, ONCE)["images"] == 40
    with pytest.raises(UserError, match="images: 8 x 8 RGB, but the test images are 8 x 8 grey"):
        lgd.evaluate((np.zeros((2, 8, 8, 3), np.uint8) + 9, [0, 1]), TEST, 1, ONCE)
    with pytest.raises(UserError, match="class 'fox' is none of the 10 classes"):
        lgd.evaluate((IMAGES[:2], ["fox", "1"]), "digits", 1, ONCE)


def test_sets_are_compared_analysed_and_reported(tmp_path: Path) -> None:
    quick = {**QUICK, **{name.replace(".", "__"): value for name, value in ONCE.items()}}
    found = lgd.compare(
        (IMAGES, LABELS), ["random"], tmp_path / "all", runs=1, test=TEST, per_class=2, increments=2,
        evaluation__seeds=1, evaluation__redundancy_seeds=1, **quick
    )  # fmt: skip
    assert set(found["methods"]) == {"random"}
    measured = lgd.analyze(tmp_path / "all", tmp_path / "analysis", seeds=1, epochs=2)
    assert list(measured["sets"]) == ["random-seed0"]
    page = lgd.report(tmp_path / "all", tmp_path / "page.html", analysis=tmp_path / "analysis")
    assert "random" in page.read_text()
    with pytest.raises(UserError, match="analyze: unknown setting 'seed'; known: "):
        lgd.analyze(tmp_path / "all", tmp_path / "more", seed=1)


NETWORKS: dict[str, tuple[Any, str]] = {
    "other logits": (three_logits, "three_logits: returned (2, 3) for 2 images of (1, 8, 8); expected logits (2, 10)"),
    "no network": (no_network, "no_network: returned str for (1, 8, 8), 10; expected nn.Module"),
    "no such module": ("nowhere:net", "nowhere:net: cannot be imported: No module named 'nowhere'; install its module"),
    "no such name": ("torch:nothing", "torch:nothing: cannot be imported: module 'torch' has no attribute 'nothing'"),
    "other arguments": ("os:getcwd", "os:getcwd: failed on images of (1, 8, 8) with 10 classes: "),
    "in a notebook": ("__main__:net", "__main__:net: worker processes cannot import what a notebook or script defines"),
}


@pytest.mark.parametrize("case", NETWORKS)
def test_a_factory_that_makes_no_network_is_told(case: str, tmp_path: Path) -> None:
    network, message = NETWORKS[case]
    with pytest.raises(UserError) as told:
        lgd.distill("digits", tmp_path / "out", learner__architecture=network, compute__workers=2)
    assert message in str(told.value)
    assert not (tmp_path / "out").exists()


def test_a_plugin_package_adds_a_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package is installed: a module and an entry point of the group `lgd.methods`. Its method selects by name."""
    (tmp_path / "brightest.py").write_text(
        "from lgd.distillation.methods import METHODS, Method\n"
        "from dataclasses import replace\n"
        "method = replace(METHODS['random'], summary='by a plug-in')\n"
        "wrong = 3\n"
    )
    info = tmp_path / "brightest-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brightest\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[lgd.methods]\nbrightest = brightest:method\nwrong = brightest:wrong\nnone = brightest:none\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert len(lgd.select(IMAGES, LABELS, per_class=2, method="brightest")) == 20
    for name, message in (
        ("wrong", r"method 'wrong' of brightest \(brightest:wrong\): a int; expected an lgd.Method"),
        ("none", r"method 'none' of brightest \(brightest:none\): cannot be imported: "),
        ("brightst", "did you mean 'brightest'"),
    ):
        with pytest.raises(UserError, match=message):
            lgd.select(IMAGES, LABELS, method=name)
    assert lgd.Method is Method


def test_settings_that_do_not_fit_are_told(tmp_path: Path) -> None:
    for call, message in (
        (
            lambda: lgd.distill("digits", tmp_path, labels=LABELS),
            "labels, test: only with images in memory; digits",
        ),
        (lambda: lgd.distill("digits", tmp_path, sede=1), "unknown setting 'sede'; did you mean 'seed'?"),
        (lambda: lgd.distill(IMAGES, tmp_path, labels=LABELS, dataset__sise=1), "DatasetConfig: unknown field 'sise'"),
        (lambda: lgd.distill(IMAGES, tmp_path, labels=LABELS, dataset__test_fraction=0.0), "leaves no test images"),
        (lambda: lgd.distill("digits", tmp_path, per_class=7), "7 images per class cannot be divided into 5 equal"),
    ):
        with pytest.raises(UserError) as told:
            call()
        assert message in str(told.value)
