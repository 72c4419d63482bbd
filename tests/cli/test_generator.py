"""`lgd generator train`, `sample` and `show`, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from diffusers import AutoencoderTiny
from PIL import Image
from tests.kills import killed_when

from lgd.cli.main import main
from lgd.config import with_values
from lgd.diffusion.folder import load_generator
from lgd.rng import seeded_initialisation
from lgd.storage.files import sha256

SMALL = [
    "--generator.blocks", "1", "--generator.heads", "2", "--generator.head-width", "8", "--generator.batch-size", "16",
    "--generator.threads", "1", "--sampling.steps", "4", "--guidance.window", "0", "3", "--quiet",
]  # fmt: skip


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a small random autoencoder: latents of 4 x 4 x 4 for images of 16 pixels."""
    folder = tmp_path_factory.mktemp("autoencoder")
    with seeded_initialisation("autoencoder"):
        blocks = {"num_encoder_blocks": (1, 1, 1), "num_decoder_blocks": (1, 1, 1)}
        widths = {"encoder_block_out_channels": (4, 4, 4), "decoder_block_out_channels": (4, 4, 4)}
        AutoencoderTiny(**blocks, **widths).save_pretrained(folder)
    return folder


def train(out: Path, autoencoder: Path, *more: str, steps: int = 60) -> list[str]:
    latents = ["--generator.autoencoder", str(autoencoder), "--generator.image-size", "16", "--generator.flip"]
    return ["generator", "train", "digits", "--out", str(out), "--generator.steps", str(steps), *latents, *SMALL, *more]


@pytest.fixture(scope="module")
def trained(autoencoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "generator"
    assert main(train(out, autoencoder)) == 0
    return out


def test_a_folder_with_everything_that_distilling_needs(trained: Path) -> None:
    generator = load_generator(trained, (1, 8, 8))
    assert generator.class_names == tuple("0123456789")
    assert generator.latent_shape == (4, 4, 4)
    assert generator.scheduler_config["clip_sample_range"] == 5.0
    rows = [json.loads(line) for line in (trained / "training.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [50, 60]
    assert all(0 <= row["waiting"] <= 1 and row["images_per_second"] > 0 for row in rows)
    for name in ("samples.png", "loss.png"):
        with Image.open(trained / name) as image:
            assert np.asarray(image.convert("L")).std() > 10
    assert (trained / "done").exists()
    assert not (trained / "checkpoint.safetensors").exists()
    assert not (trained / "latents").exists()


def test_a_killed_training_goes_on_to_the_same_bytes(trained: Path, autoencoder: Path, tmp_path: Path) -> None:
    """SIGKILL after two different checkpoints, then the same command to the end."""
    out = tmp_path / "generator"
    command = train(out, autoencoder, "--save-every", "0.0001")
    log, checkpoint = out / "training.jsonl", out / "checkpoint.safetensors"
    seen: set[str] = set()
    for _ in range(2):
        assert killed_when(lambda: checkpoint.exists() and sha256(checkpoint) not in seen, command)
        seen.add(sha256(checkpoint))
    assert log.exists()
    assert not (out / "done").exists()
    assert main(train(out, autoencoder)) == 0
    weights = "transformer/diffusion_pytorch_model.safetensors"
    assert sha256(out / weights) == sha256(trained / weights)
    assert (out / "latents.json").read_bytes() == (trained / "latents.json").read_bytes()


def test_a_finished_training_is_left_alone(trained: Path, autoencoder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*") if path.name != ".lock"}
    assert main(train(trained, autoencoder)) == 0
    assert {path: path.stat().st_mtime_ns for path in trained.rglob("*") if path.name != ".lock"} == before


def test_show(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generator", "show", str(trained)]) == 0
    text = capsys.readouterr().out
    parameters = sum(p.numel() for p in load_generator(trained).denoiser.parameters())
    assert "training     finished; loss " in text
    assert "classes      10: 0, 1, 2, 3, 4, ..." in text
    assert f"denoiser     {parameters / 1e6:.1f} M parameters: 1 blocks of width 16, patch 2, 4 tokens" in text
    assert "latents      4 x 4 x 4, of AutoencoderTiny, which sees images of 16 pixels" in text
    assert "noise        1000 linear steps, beta 0.0001 to 0.02; clean latents clamped to ±5" in text


def test_sample(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "grid.png"
    command = ["generator", "sample", str(trained), "--per-class", "2", "--steps", "4", "--quiet", "--out", str(out)]
    assert main([*command, "--classes", "7", "0"]) == 0
    first = out.read_bytes()
    assert main([*command, "--classes", "7", "0"]) == 2  # it exists
    assert main([*command, "--classes", "7", "0", "--overwrite"]) == 0
    assert out.read_bytes() == first
    assert main([*command, "--classes", "7", "0", "--overwrite", "--seed", "1"]) == 0
    assert out.read_bytes() != first


def test_a_run_with_the_trained_generator(trained: Path, tiny: object, tmp_path: Path) -> None:
    from lgd.experiments.distill import distill

    config = with_values(tiny, {"generator.source": str(trained), "stages.increments": 2})  # type: ignore[arg-type]
    run = distill(config, tmp_path / "run")
    with Image.open(next(run.increment(2).rglob("*.png"))) as image:
        assert (image.mode, image.size) == ("L", (8, 8))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generator"], None),
        (["generator", "trian", "digits"], "unknown verb 'trian' of lgd generator; did you mean 'train'?"),
        (["generator", "train"], "generator train needs a preset"),
        (["generator", "train", "digits", "--out", "OUT", "--generator.source", "X"], "is trained already"),
        (["generator", "train", "digits", "--out", "OUT", "--generator.image-size", "16"], "only an autoencoder sees"),
        (["generator", "train", "digits", "--out", "OUT", "--generator.autoencoder", "X"], "X: no such folder"),
        (["generator", "train", "digits", "--out", "OUT", "--save-every", "0"], "--save-every must be above 0"),
        (["generator", "train", "digits", "--out", "TRAINED"], "was made with another configuration: generator."),
        (["generator", "train", "cifar10", "--out", "OUT"], "dataset.source"),
        (["generator", "sample", "OUT", "--out", "FILE"], "not a generator made by lgd"),
        (["generator", "sample", "TRAINED", "--out", "FILE", "--classes", "ten"], "class 'ten' is unknown to"),
        (["generator", "sample", "TRAINED", "--out", "FILE", "--per-class", "0"], "--per-class must be at least 1"),
        (["generator", "sample", "TRAINED", "--out", "FILE", "--steps", "0"], "sampling.steps"),
        (["generator", "sample", "pretrained:/nowhere", "--out", "FILE"], "no such folder: /nowhere"),
        (["generator", "show", "OUT"], "not a generator, nor a training"),
        (["generator", "show", "pretrained:TRAINED"], "not a saved pipeline: it lacks model_index.json"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(
    arguments: list[str], message: str | None, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"OUT": tmp_path / "out", "FILE": tmp_path / "grid.png", "TRAINED": trained, "X": tmp_path / "X"}
    words = [str(places.get(word, word)) for word in arguments]
    words = [word.replace("pretrained:TRAINED", f"pretrained:{trained}") for word in words]
    assert main(words) == 2
    output = capsys.readouterr()
    if message is None:
        assert output.out.startswith("usage: lgd generator")
    else:
        assert message in output.err
        assert output.err.count("\n") == 1
    assert not (tmp_path / "grid.png").exists()
    assert not (tmp_path / "out").exists()
