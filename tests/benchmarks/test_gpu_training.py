"""The GPU training of a generator in its small form: packed images in, a generator in parts out."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pack_images as packing
import pytest
import torch
import train_generator as training
from tests.diffusion.pipelines import new_vae

from lgd.config import DatasetConfig
from lgd.data.splits import load_splits
from lgd.diffusion.folder import load_generator
from lgd.rng import seeded_initialisation


@pytest.mark.parametrize("minutes", ["0", "0.03"])
def test_packed_images_become_a_generator(minutes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packing.main(["digits", "--size", "8", "--quality", "90", "--out", str(tmp_path)])
    source = f"parquet:{tmp_path / 'train.parquet'},{tmp_path / 'test.parquet'}"
    packed, digits = load_splits(DatasetConfig(source, channels=1)), load_splits(DatasetConfig("digits"))
    for part, whole in ((packed.train, digits.train), (packed.test, digits.test)):
        assert torch.equal(part.labels, whole.labels)
        assert part.class_names == whole.class_names
        assert (part.images.float() - whole.images.float()).abs().mean() < 6

    with seeded_initialisation("vae"):
        new_vae().save_pretrained(tmp_path / "vae")
    monkeypatch.setattr(training, "PART", 20_000)
    monkeypatch.setattr(training, "PROBE", 4)
    monkeypatch.setattr(training, "SAMPLING", 0.0)
    monkeypatch.setattr(training, "SAMPLING_STEPS", 2)
    small = ["--size", "custom", "--image-size", "8", "--batch", "8", "--per-class", "1", "--minutes", minutes]
    small += ["--source", source, "--keep", "0.1", "0.5"]
    paths = {"autoencoder": "vae", "out": "out"}
    training.main([*small, *(word for name, path in paths.items() for word in (f"--{name}", str(tmp_path / path)))])

    out = tmp_path / "out"
    report = json.loads((out / "report.json").read_text())
    rows = [json.loads(line) for line in (out / "training.jsonl").read_text().splitlines()]
    assert report["steps"] == rows[-1]["step"] > 0
    assert rows[-1]["loss"] == report["loss"] > 0
    assert (out / "samples.png").stat().st_size > 0
    parts = sorted(out.glob("generator.tar.*"), key=lambda path: int(path.suffix[1:]))
    assert len(parts) > 1
    assert all(path.stat().st_size <= 20_000 for path in parts)
    for early in ("at-0.1", "at-0.5"):
        assert load_generator(out / "generator").class_names == load_generator(out / early).class_names
    with tarfile.open(fileobj=io.BytesIO(b"".join(path.read_bytes() for path in parts))) as tar:
        tar.extractall(tmp_path, filter="data")
    generator = load_generator(tmp_path / "generator")
    assert generator.latent_shape == tuple(report["latents"]) == (4, 4, 4)
    assert generator.class_names == digits.train.class_names
    assert generator.predicts == "sample"
