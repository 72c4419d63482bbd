"""Fine-tuning from the command line: messages, refused input, and continuing after a kill."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.diffusion.pipelines import new_vae, save_pipeline
from tests.kills import killed_when

from lgd.cli.main import main
from lgd.diffusion.folder import load_generator
from lgd.storage.files import load_tensors, save_tensors, sha256

WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuning") / "dit"
    save_pipeline(folder)
    (folder.parent / "map.toml").write_text('[classes]\ndark = "golden retriever"\n')
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write images of 16 x 16 pixels: dark and light noise, classes that the source does not have."""
    root, draw = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for name, ground in (("dark", 60), ("light", 200)):
        (root / name).mkdir()
        for k in range(12):
            pixels = draw.integers(ground - 30, ground + 30, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{k}.png")
    return root


def command(pipeline: Path, images: Path, out: Path, *more: str, tune: str = "difffit") -> list[str]:
    return [
        *("generator", "train", f"folder:{images}", "--out", str(out), "--generator.tune", tune),
        *("--generator.source", f"pretrained:{pipeline}", "--generator.class-map", str(pipeline.parent / "map.toml")),
        *("--generator.steps", "60", "--generator.batch-size", "8", "--generator.threads", "1", "--generator.flip"),
        *("--sampling.steps", "4", "--guidance.window", "0", "3", *more),
    ]


@pytest.fixture(scope="module")
def tuned(pipeline: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tuned") / "generator"
    assert main([*command(pipeline, images, out), "--quiet"]) == 0
    return out


def test_what_was_tuned_is_told(tuned: Path, pipeline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generator", "show", str(tuned)]) == 0
    told = capsys.readouterr().out
    assert f"tuned from   pretrained:{pipeline}, as DiffFit does" in told
    assert "classes      2: dark, light" in told
    assert "learned variance" in told
    assert "% of the time waiting for images" in told
    assert not (tuned / "checkpoint.safetensors").exists()
    record = json.loads((tuned / "source.json").read_text())
    assert record["files"][WEIGHTS] == sha256(pipeline / WEIGHTS)


def test_it_draws_its_new_classes(tuned: Path, tmp_path: Path) -> None:
    out = tmp_path / "grid.png"
    sample = ["generator", "sample", str(tuned), "--per-class", "1", "--steps", "4", "--out", str(out), "--quiet"]
    assert main([*sample, "--classes", "light", "dark"]) == 0
    with Image.open(out) as image:
        assert np.asarray(image.convert("L")).std() > 5


@pytest.mark.parametrize("tune", ["difffit", "full"])
def test_killed_it_goes_on_to_the_same_bytes(
    tune: str, tuned: Path, pipeline: Path, images: Path, tmp_path: Path
) -> None:
    """SIGKILL after two different checkpoints, then the same command to the end."""
    whole, out = tuned, tmp_path / "parts"
    if tune == "full":
        whole = tmp_path / "whole"
        assert main([*command(pipeline, images, whole, tune=tune), "--quiet"]) == 0
    plain = command(pipeline, images, out, tune=tune)
    checkpoint, seen = out / "checkpoint.safetensors", set()
    for _ in range(2):
        often = [*plain, "--save-every", "0.0001", "--quiet"]
        assert killed_when(lambda: checkpoint.exists() and sha256(checkpoint) not in seen, often)
        seen.add(sha256(checkpoint))
    assert main([*plain, "--quiet"]) == 0
    assert sha256(out / WEIGHTS) == sha256(whole / WEIGHTS)
    assert load_generator(out).class_names == ("dark", "light")


def test_a_source_that_changed_meanwhile_is_refused(
    pipeline: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After an interruption, the frozen weights would now be those of another source."""
    source, out = tmp_path / "dit", tmp_path / "out"
    save_pipeline(source)
    (tmp_path / "map.toml").write_text("[classes]\ndark = 3\n")
    assert main([*command(source, images, out), "--quiet"]) == 0
    (out / "done").unlink()
    tensors = load_tensors(source / WEIGHTS)
    save_tensors(source / WEIGHTS, {name: 2 * tensor for name, tensor in tensors.items()})
    assert main([*command(source, images, out), "--quiet"]) == 2
    told = capsys.readouterr().err
    assert f"{WEIGHTS} is not the file that {out} was begun with" in told
    assert told.count("\n") == 1


def remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def as_pickle(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "transformer/diffusion_pytorch_model.bin")


def with_map(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder.parent / "map.toml").write_text(text)


@pytest.mark.parametrize(
    ("spoil", "more", "message"),
    [
        (remove("vae/config.json"), [], "it lacks vae/config.json"),
        (remove(WEIGHTS), [], "transformer: no weights as safetensors; `lgd generator import`"),
        (as_pickle, [], "diffusion_pytorch_model.bin: a pickle, which is not read here"),
        (lambda f: new_vae(3).save_pretrained(f / "vae"), [], "the vae's latents have 3 channels, the transformer's 4"),
        (with_map('[classes]\ndark = "lion"\nlight = "lynx"\n'), [], "classes 'lion', 'lynx' are unknown to"),
        (with_map("[classes]\ndark = 1000\n"), [], "has no class 1000, only 0 to 999"),
        (with_map('[classes]\ndark = "crane"\n'), [], "'crane' is the name of 2 classes"),
        (with_map("[classes]\nbright = 3\n"), [], "'bright' is not a class of the image set"),
        (lambda f: None, ["--generator.source", ""], "generator.tune: 'difffit' needs a generator.source to start"),
        (lambda f: None, ["--generator.source", "pretrained:/nowhere"], "no such folder: /nowhere"),
        (lambda f: None, ["--generator.tune", "some"], "'some'"),
        (
            lambda f: None,
            ["--generator.tune", "none"],
            "is trained already; --generator.tune full or lora trains",
        ),
    ],
)
def test_mistakes_are_one_line(
    spoil: Callable[[Path], object],
    more: list[str],
    message: str,
    images: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, out = tmp_path / "dit", tmp_path / "out"
    save_pipeline(source)
    (tmp_path / "map.toml").write_text("[classes]\ndark = 3\n")
    spoil(source)
    capsys.readouterr()
    assert main([*command(source, images, out, *more), "--quiet"]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1, told
    assert not (out / "done").exists()
