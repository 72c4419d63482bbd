"""Settings that follow from the images: their values, and runs with them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import lgd
from lgd.classifiers.convnet import convnet_depth
from lgd.cli.main import main
from lgd.config import DatasetConfig, from_dict, to_dict
from lgd.data import splits
from lgd.data.splits import Survey
from lgd.diffusion.families.dit import check_patch
from lgd.errors import UserError
from lgd.experiments.auto import as_source, is_source, load_config, patch_for, settings_for
from lgd.report.reproduce import command
from lgd.storage.files import load_tensors, read_json

QUICK = (
    *("--generator.steps", "4", "--generator.blocks", "1", "--generator.heads", "1", "--generator.threads", "1"),
    *("--reference.training.epochs", "2", "--reference.width", "8", "--learner.training.epochs", "2"),
    *("--judge.training.epochs", "1", "--judge.width", "8", "--learner.width", "8"),
    *("--evaluation.classifier.training.epochs", "2", "--evaluation.classifier.width", "8"),
    *("--evaluation.seeds", "1", "--evaluation.redundancy-seeds", "1", "--stages.increments", "2"),
    *("--sampling.steps", "4", "--guidance.window", "1", "2", "--compute.workers", "1"),
)


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write 28 x 28 grey PNGs: noise on a dark and on a bright background."""
    root, draw = tmp_path_factory.mktemp("grey"), np.random.default_rng(0)
    for name, ground in (("dark", 40), ("light", 200)):
        for k in range(12):
            path = root / name / f"{k}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(draw.integers(ground - 30, ground + 30, (28, 28), dtype=np.uint8)).save(path)
    return root


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write JPEGs of several modes and sizes, in train/ and val/."""
    root, draw = tmp_path_factory.mktemp("mixed"), np.random.default_rng(0)
    for part, count in (("train", 8), ("val", 4)):
        for name, ground in (("dark", 40), ("light", 200)):
            for k in range(count):
                path = root / part / name / f"{k}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                array = draw.integers(ground - 30, ground + 30, (33 + 5 * k, 60 - 3 * k, 3), dtype=np.uint8)
                Image.fromarray(array).convert(("RGB", "L", "CMYK")[k % 3]).save(path)
    return root


def survey(size: int, channels: int = 3, train: int = 3000, classes: int = 10, smallest: int = 300) -> Survey:
    names = tuple(map(str, range(classes)))
    dataset = DatasetConfig(source="folder:x", size=size, channels=channels)  # type: ignore[arg-type]
    return Survey(dataset, train, 500, names, smallest)


@pytest.mark.parametrize("size", range(8, 65, 4))
def test_settings_fit_every_size(size: int) -> None:
    config = settings_for(survey(size), True)
    assert from_dict(to_dict(config), "automatic") == config
    check_patch(config.generator, (3, size, size))
    assert 4 <= size // config.generator.patch_size <= 11
    assert size >> convnet_depth(size) >= 2
    assert not config.reference.training.flip
    assert not config.evaluation.classifier.training.colour_jitter
    assert config.reference.training.precision == ("bfloat16" if size >= 28 else "float32")
    own = config.generator
    assert (own.precision, own.prediction, own.align) == ("auto", "sample", "auto")
    assert settings_for(survey(size), False).reference.training.precision == "float32"


def test_settings_follow_the_number_of_images() -> None:
    few, many = settings_for(survey(32, train=500), True), settings_for(survey(32, train=50_000), True)
    assert few.reference.training.epochs > many.reference.training.epochs
    assert settings_for(survey(32, smallest=5), True).stages.increments == 2
    assert settings_for(survey(32, smallest=1), True).stages.increments == 1


@pytest.mark.parametrize(("size", "patch"), [(8, 2), (28, 4), (32, 4), (64, 8), (56, 7), (29, 29 // 29), (128, 16)])
def test_patches(size: int, patch: int) -> None:
    assert patch_for(size) == patch


def test_what_names_images() -> None:
    assert [is_source(name) for name in ("folder:x", "parquet:a,b", "hf:x@y", "digits", "folder", "C:/x.toml")] == [
        *(True, True, True),
        *(False, False, False),
    ]


def test_a_folder_of_digits_runs_from_its_path_alone(
    grey: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["distill", f"folder:{grey}", "--out", str(tmp_path / "run"), *QUICK]) == 0
    told = capsys.readouterr().err
    assert "18 training and 6 test images, 2 classes; read as 28 x 28 grey" in told
    config = read_json(tmp_path / "run" / "config.json")
    assert (config["dataset"]["size"], config["dataset"]["channels"]) == (28, 1)
    assert to_dict(load_config(str(tmp_path / "run" / "config.json"))) == config
    assert command(config, "run") == "lgd distill run/config.json --out run-again"
    assert config["generator"]["steps"] == 4
    assert config["generator"]["patch_size"] == 4
    data = lgd.load(tmp_path / "run")
    splits._splits.cache_clear()  # as another process
    Image.new("L", (28, 28)).save(grey / "dark" / "new.png")
    assert main(["distill", f"folder:{grey}", "--out", str(tmp_path / "run"), *QUICK]) == 2
    assert "was begun with other train images (18 then, 19 now)" in capsys.readouterr().err
    (grey / "dark" / "new.png").unlink()
    splits._splits.cache_clear()
    assert main(["distill", f"folder:{grey}", "--out", str(tmp_path / "run"), *QUICK]) == 0
    assert data.images.shape == (1, 28, 28)
    assert data.class_names == ("dark", "light")
    assert (tmp_path / "run" / "metrics.json").is_file()
    assert "reference, waiting for images" in read_json(tmp_path / "run" / "seconds.json")


def test_mixed_photographs_are_evaluated(mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = f"folder:{mixed}", tmp_path / "compared"
    assert main(["compare", source, "--methods", "herding", "lgd", "--out", str(out), "--runs", "1", *QUICK]) == 0
    told = capsys.readouterr().err
    assert "16 training and 8 test images, 2 classes; read as 32 x 32 RGB" in told
    assert lgd.load(out / "lgd-seed0").images.shape == (3, 32, 32)
    result = tmp_path / "result.json"
    again = ["evaluate", str(out / "herding-seed0"), "--test", source, "--seeds", "1", "--epochs-factor", "0.02"]
    assert main([*again, "--json", str(result), "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    assert json.loads(result.read_text())["images"] == 8


def test_options_of_the_images_decide_the_rest(mixed: Path) -> None:
    smaller = load_config(f"folder:{mixed}", DatasetConfig(size=16, channels=1))
    assert (smaller.generator.patch_size, smaller.dataset.channels) == (2, 1)
    reversed_names = load_config(f"folder:{mixed}", DatasetConfig(classes=("light", "dark")))
    assert reversed_names.dataset.classes == ("light", "dark")


def test_options_are_read_before_the_images(mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["reference", "train", f"folder:{mixed}", "--out", str(tmp_path / "r"), "--dataset.size", "16"]
    assert main([*arguments, "--dataset.channels", "1", *QUICK]) == 0
    assert "read as 16 x 16 grey" in capsys.readouterr().err
    config = read_json(tmp_path / "r" / "config.json")
    assert (config["dataset"]["size"], config["reference"]["training"]["crop_padding"]) == (16, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["distill", "folder:/nowhere", "--out", "OUT"], "/nowhere: No such file or directory"),
        (["distill", "folder:GREY", "--out", "OUT", "--dataset.sise", "8"], "--dataset.sise"),
        (["distill", "folder:GREY", "--out", "OUT", "--dataset.size", "x"], "invalid literal for int()"),
        (["distill", "folder:GREY", "--out", "OUT", "--dataset.channels", "2"], "'2'"),
        (["distill", "folder:GREY", "--out", "OUT", "--dataset.size", "30"], "smaller than 30 x 30"),
        (["distill", "folder:GREY", "--out", "OUT", "--dataset.classes", "dark", "grey"], "no class 'grey'"),
        (["distill", "hf:no such/name", "--out", "OUT"], "a name on the Hub is OWNER/NAME"),
        (["distill", "parquet:none.parquet", "--out", "OUT"], "none.parquet: no such file"),
        (["distill", "folder:", "--out", "OUT"], "needs a path or name after the colon"),
        (["evaluate", "GREY", "--test", "folder:/nowhere"], "/nowhere: No such file or directory"),
        (["reference"], "lgd reference train PRESET_OR_TOML --out DIR"),
        (["reference", "sell"], "lgd reference train PRESET_OR_TOML --out DIR"),
        (["reference", "train"], "needs a preset, a .toml file or folder:PATH first"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], message: str, grey: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    assert main([a.replace("OUT", out).replace("GREY", str(grey)) for a in arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lgd: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert not (tmp_path / "out").exists()


def test_a_preset_file_names_images_too(grey: Path, tmp_path: Path) -> None:
    """A file gives every setting its plain default, not an automatic one."""
    path = tmp_path / "mine.toml"
    path.write_text(f'[dataset]\nsource = "folder:{grey}"\nclasses = ["light", "dark"]\n[generator]\npatch_size = 7\n')
    config = load_config(str(path))
    assert config.generator.patch_size == 7
    assert lgd.load_config(str(path)) == config
    with pytest.raises(UserError, match="needs a path or name after the colon"):
        lgd.distill(replace(config, dataset=replace(config.dataset, source="folder:")), tmp_path / "out")


def test_reference_of_the_user_s_own(grey: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is used in place of a trained one, and a run with the weights of its own reference is the same run."""
    source, plain, own = f"folder:{grey}", tmp_path / "plain", tmp_path / "own"
    options = (*QUICK, "--reference.training.epochs", "12")
    assert main(["reference", "train", source, "--out", str(tmp_path / "r"), *options]) == 0
    assert "reference.safetensors: 100.00 % of 6 test images" in capsys.readouterr().out
    assert main(["distill", source, "--out", str(plain), *options]) == 0
    tensors = load_tensors(tmp_path / "r" / "reference.safetensors")
    bare = {name.removeprefix("network."): tensor for name, tensor in tensors.items() if name.startswith("network.")}
    head = max(int(name.split(".")[0]) for name in bare)
    swapped = {name: -tensor if name.startswith(f"{head}.") else tensor for name, tensor in bare.items()}
    save_file(bare, tmp_path / "bare.safetensors")
    save_file(swapped, tmp_path / "swapped.safetensors")
    torch.save(bare, tmp_path / "pickle.safetensors")
    given = ["--reference.weights", str(tmp_path / "r" / "reference.safetensors")]
    assert main(["distill", source, "--out", str(own), *options, *given]) == 0
    assert (own / "dataset" / "metadata.csv").read_bytes() == (plain / "dataset" / "metadata.csv").read_bytes()
    given = ["--reference.weights", str(tmp_path / "bare.safetensors")]
    assert main(["reference", "train", source, "--out", str(tmp_path / "again"), *options, *given]) == 0
    for folder in (own, tmp_path / "again"):
        assert (folder / "reference.safetensors").read_bytes() == (plain / "reference.safetensors").read_bytes()
    for name, more, message in (
        ("swapped.safetensors", [], "recognises .* of the training images; are its classes dark, light in this order"),
        ("pickle.safetensors", [], "a pickle, which can run code and is never opened"),
        ("none.safetensors", [], "no such file"),
        ("r", [], "a directory, not a safetensors file"),
        ("bare.safetensors", ["--reference.width", "16"], "not the weights of this convnet"),
        ("bare.safetensors", ["--dataset.classes", "light", "dark"], "are its classes light, dark in this order"),
    ):
        given = ["--reference.weights", str(tmp_path / name)]
        capsys.readouterr()
        assert main(["distill", source, "--out", str(tmp_path / "new"), *options, *given, *more]) == 2
        assert re.search(message, capsys.readouterr().err)
        assert not (tmp_path / "new").exists()


def test_a_path_where_a_preset_stands(
    grey: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert as_source(str(grey)) == f"folder:{grey}"
    assert f"{grey}: read as folder:{grey}" in caplog.text
    assert load_config(str(grey)) == load_config(f"folder:{grey}")
    table = tmp_path / "t.parquet"
    table.write_bytes(b"")
    assert as_source(str(table)) == f"parquet:{table}"
    assert load_config(str(finished)) == load_config(str(finished / "config.json"))
    monkeypatch.chdir(tmp_path)
    Path("digits").mkdir()
    assert as_source("digits") == "digits"  # a preset's name stays one
    assert as_source("./digits") == "folder:./digits"
    with pytest.raises(UserError, match="unknown preset 'DIGITS'; did you mean 'digits'"):
        load_config("DIGITS")
