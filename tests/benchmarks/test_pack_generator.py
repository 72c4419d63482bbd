"""A training that goes on is packed from the averaged weights of its checkpoint."""

from __future__ import annotations

import itertools
from pathlib import Path

import pack_generator
import pytest
import torch
from tests.diffusion.pipelines import new_vae

from lgd.config import Config, to_dict, with_values
from lgd.data.splits import load_splits
from lgd.diffusion.folder import load_generator
from lgd.diffusion.train_generator import GeneratorTraining, make_generator
from lgd.rng import seeded_initialisation
from lgd.storage.files import load_tensors, write_json


def test_the_averages_of_a_checkpoint(tiny: Config, tmp_path: Path) -> None:
    with seeded_initialisation("vae"):
        new_vae().save_pretrained(tmp_path / "vae")
    config = with_values(tiny, {"generator.autoencoder": str(tmp_path / "vae"), "generator.steps": 5})
    folder, saved = tmp_path / "generator", itertools.count(1)
    folder.mkdir()
    write_json(folder / "config.json", {name: to_dict(config)[name] for name in ("dataset", "generator")})

    def stop(*_: object) -> None:
        if next(saved) == 3:
            raise KeyboardInterrupt

    images = load_splits(config.dataset).train.subset(range(40))
    with pytest.raises(KeyboardInterrupt):
        make_generator(GeneratorTraining(config.generator, config.dataset, images, "cpu"), folder, 0.0, stop)
    pack_generator.main([str(folder), "--out", str(tmp_path / "packed")])

    packed = load_generator(tmp_path / "packed")
    averages = load_tensors(folder / "checkpoint.safetensors")
    for name, parameter in packed.denoiser.named_parameters():
        assert torch.equal(parameter, averages[f"average.{name}"].half().float())
    assert packed.class_names == images.class_names
    assert torch.isfinite(packed.autoencoder.decode(torch.zeros(1, *packed.latent_shape))).all()
