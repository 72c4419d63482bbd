"""A Stable Diffusion pipeline from a folder of named classes to a distilled set, and what tells about it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.conftest import resources_of
from tests.diffusion.unets import save_stable_diffusion

from lgd.cli.main import main
from lgd.config import Config, with_values
from lgd.distillation.methods.sampling import CandidateSpec, SamplingContext, sample_candidates
from lgd.experiments.distill import distill
from lgd.export import export
from lgd.profiling.plan import Rates, plan
from lgd.profiling.sizes import Sizes
from lgd.storage.files import load_tensors, read_json, sha256

NAMES = ("dog", "grey_cat")


@pytest.fixture(scope="module")
def config(tiny: Config, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Two classes of 8 x 8 photographs, and three prompts for each."""
    root, draw = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for name, ground in zip(NAMES, (60, 180), strict=True):
        for k in range(8):
            path = root / name / f"{k}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(draw.integers(ground - 40, ground + 40, (8, 8, 3), dtype=np.uint8)).save(path)
    source = tmp_path_factory.mktemp("pipelines") / "sd"
    save_stable_diffusion(source)
    (source / "README.md").write_text("---\nlicense: creativeml-openrail-m\n---\n")
    return with_values(
        tiny,
        {
            "dataset.source": f"folder:{root}",
            "generator.source": f"pretrained:{source}",
            "generator.prompts.templates": ("a photo of a {class}", "a {class}", "{class} at night"),
            "generator.prompts.negative": "blur",
            "sampling.classifier_free_scale": 4.0,
            "stages.increments": 2,
        },
    )


@pytest.fixture(scope="module")
def run(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return distill(config, tmp_path_factory.mktemp("run") / "run").root


def test_a_run_end_to_end(run: Path) -> None:
    """Guided by learner, reference and memory; latents in the store; prompts and digests with the assets."""
    assert read_json(run / "metrics.json")["increments"][-1]["images"] == 8
    assert load_tensors(run / "increments/02/groups/0000.safetensors")["latents"].shape == (4, 4, 4, 4)
    assert load_tensors(run / "generator/prompts.safetensors")["hidden"].shape == (7, 24, 8)
    source = read_json(run / "generator/source.json")
    for part in ("unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors", "model_index.json"):
        assert part in source["files"]
    assert any(name.startswith("tokenizer/") for name in source["files"])
    assert source["licence"] == "creativeml-openrail-m"


def test_the_same_run_again_writes_the_same_images(config: Config, run: Path, tmp_path: Path) -> None:
    """With another batch size, which no image depends on."""
    again = distill(with_values(config, {"sampling.batch_size": 3}), tmp_path / "run").root
    latents = [load_tensors(root / "increments/01/groups/0000.safetensors")["latents"] for root in (run, again)]
    np.testing.assert_allclose(*latents, rtol=0, atol=1e-3)
    kept = sorted((run / "increments/01").rglob("*.png"))
    assert len(kept) == 4
    assert sum(sha256(path) == sha256(again / path.relative_to(run)) for path in kept) >= 3


def test_an_image_depends_on_its_own_seed_alone(config: Config, run: Path) -> None:
    """Its prompt included: alone, among others, and in another order."""
    resources = resources_of(config, run, 1, range(2))
    nothing = dict.fromkeys((0, 1), torch.empty(0))
    context = SamplingContext(resources, resources.config, lambda denoiser, labels, slots: denoiser, nothing)
    cases = [CandidateSpec(label, slot, 10 * slot + label) for slot in range(3) for label in range(2)]
    labels = torch.tensor([case.label for case in cases])
    conditions = resources.generator.conditions_of(labels, [case.seed for case in cases])
    assert len(set(conditions.tolist())) > 2
    together = sample_candidates(context, cases)
    for place in (0, 3):
        np.testing.assert_allclose(sample_candidates(context, [cases[place]])[0], together[place], rtol=0, atol=1e-3)
    backwards = sample_candidates(context, cases[::-1]).flip(0)
    np.testing.assert_allclose(backwards, together, rtol=0, atol=1e-3)


def test_card_bench_and_plan_know_it(config: Config, run: Path, tmp_path: Path) -> None:
    text = (export(run, "imagefolder", tmp_path / "set") / "README.md").read_text()
    assert "Generator: sd, a text-to-image U-Net (Stable Diffusion); licence: creativeml-openrail-m." in text
    out = tmp_path / "bench.json"
    arguments = ["--run", str(run), "--classes", "2", "--candidates", "2", "--steps", "4", "--rounds", "1", "--quick"]
    assert main(["bench", *arguments, "--json", str(out), "--quiet"]) == 0
    assert json.loads(out.read_text())["denoiser"]["flops"] > 0
    found = plan(config, Sizes(2, 12, 4, (3, 8, 8), loaded=True), Rates(1e11, 3e11), fake=False)
    assert [phase.name for phase in found.phases] == ["reference", "judge", "learners", "images", "evaluation"]


def test_plan_knows_published_stable_diffusion(tmp_path: Path) -> None:
    """Without weights: 860 M parameters of the U-Net in two bytes each, and the autoencoder."""
    out = tmp_path / "plan.json"
    source = ["--generator.source", "pretrained:stable-diffusion-v1-5/stable-diffusion-v1-5"]
    small = ["--sampling.batch-size", "1", "--stages.classes-per-unit", "1", "--stages.seed-method", "dit"]
    assert main(["plan", "imagenette", *source, "--tflops", "312", "--json", str(out), "--quiet", *small]) == 0
    images = next(phase for phase in json.loads(out.read_text())["phases"] if phase["name"] == "images")
    assert 2 * 860e6 < images["bytes"] < 40 * 2**30


def test_a_picture_by_prompts(config: Config, tmp_path: Path) -> None:
    out = tmp_path / "grid.png"
    source = ["generator", "sample", config.generator.source, "--out", str(out), "--steps", "4", "--per-class", "2"]
    assert main([*source, "--classes", "red fox", "dog", "--prompts.templates", "a {class}", "--quiet"]) == 0
    with Image.open(out) as image:
        assert np.asarray(image.convert("L")).std() > 1
