"""A DiTPipeline as a generator: the same samples as diffusers', learned variance, and what can be wrong with it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from tests.diffusion.pipelines import new_vae, save_pipeline
from torch import Tensor

from lgd.cli.main import main
from lgd.config import Config, GeneratorConfig, SamplingConfig, with_values
from lgd.diffusion.families.dit import vocabulary
from lgd.diffusion.folder import load_generator, open_generator
from lgd.diffusion.generator import Generator
from lgd.diffusion.pretrained import load_pipeline, pipeline_folder
from lgd.diffusion.sampler import sample
from lgd.errors import UserError
from lgd.experiments.distill import distill
from lgd.guidance.classifier_free import classifier_free
from lgd.rng import noise
from lgd.storage.files import load_tensors, read_json, save_tensors, sha256, write_json

IDS = [207, 3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pipeline") / "dit"
    save_pipeline(path)
    return path


def streams() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in (5, 6)]


def ours(generator: Generator, config: SamplingConfig, labels: tuple[int, ...] = (0, 1)) -> Tensor:
    g = streams()
    conditions = generator.conditions_of(torch.tensor(labels), range(len(labels)))
    denoiser = classifier_free(generator, conditions, config.classifier_free_scale, config.guided_channels)
    return sample(denoiser, generator.schedule(config), noise(g, generator.latent_shape), g)


@pytest.mark.parametrize("scale", [1.0, 4.0])
@pytest.mark.parametrize("scheduler", ["ddim", "dpm++"])
def test_unguided_samples_equal_the_pipelines_own(folder: Path, tmp_path: Path, scheduler: str, scale: float) -> None:
    (tmp_path / "map.toml").write_text("[classes]\nfirst = 207\nsecond = 3\n")
    config = GeneratorConfig(source=f"pretrained:{folder}", class_map=str(tmp_path / "map.toml"))
    generator = open_generator(config, tmp_path, ("first", "second"), (3, 8, 8))
    assert generator.class_ids == (207, 3)
    sampling = SamplingConfig(scheduler, 10, classifier_free_scale=scale)  # type: ignore[arg-type]
    images = generator.autoencoder.decode(ours(generator, sampling))

    pipeline = save_pipeline(tmp_path / "again")
    pipeline.scheduler = generator.schedule(sampling)
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        class_labels=IDS, guidance_scale=scale, generator=streams(), num_inference_steps=10, output_type="np"
    ).images
    assert theirs.std() > 0.05
    np.testing.assert_allclose(images.permute(0, 2, 3, 1).numpy(), theirs, rtol=0, atol=2e-6)


@pytest.mark.parametrize("kind", ["sample", "v_prediction"])
def test_so_do_those_of_one_that_predicts_something_else(folder: Path, tmp_path: Path, kind: str) -> None:
    copy = tmp_path / "dit"
    shutil.copytree(folder, copy)
    path = copy / "scheduler/scheduler_config.json"
    write_json(path, {**read_json(path), "prediction_type": kind})
    generator = replace(load_pipeline(copy), class_names=("a", "b"), class_ids=tuple(IDS))
    sampling = SamplingConfig("ddim", 10, classifier_free_scale=4.0)
    images = generator.autoencoder.decode(ours(generator, sampling))
    pipeline = save_pipeline(tmp_path / "again")
    pipeline.scheduler = DDIMScheduler.from_config(generator.scheduler_config, timestep_spacing="trailing")
    assert pipeline.scheduler.config.prediction_type == kind
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        class_labels=IDS, guidance_scale=4.0, generator=streams(), num_inference_steps=10, output_type="np"
    ).images
    assert theirs.std() > 0.05
    np.testing.assert_allclose(images.permute(0, 2, 3, 1).numpy(), theirs, rtol=0, atol=2e-5)


def test_ddpm_samples_with_the_learned_variance(folder: Path) -> None:
    """Against Nichol and Dhariwal's (2021) p_sample on the respaced betas, written out."""
    generator = load_pipeline(folder)
    assert generator.learned_variance
    scheduler_steps = 50
    g = streams()
    x = noise(g, generator.latent_shape)
    used = np.round(np.linspace(0, 999, scheduler_steps)).astype(int)
    alpha_bar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))[used]
    previous = np.append(1.0, alpha_bar[:-1])
    beta = 1 - alpha_bar / previous
    posterior = beta * (1 - previous) / (1 - alpha_bar)
    for i in reversed(range(scheduler_steps)):
        t = torch.full((2,), int(used[i]))
        with torch.no_grad():
            eps, v = generator.denoiser(x, timestep=t, class_labels=torch.tensor(IDS)).sample.chunk(2, dim=1)
        x0 = (x - (1 - alpha_bar[i]) ** 0.5 * eps) / alpha_bar[i] ** 0.5
        mean = previous[i] ** 0.5 * beta[i] / (1 - alpha_bar[i]) * x0
        mean = mean + (1 - beta[i]) ** 0.5 * (1 - previous[i]) / (1 - alpha_bar[i]) * x
        if i:
            share = (v + 1) / 2
            log = share * float(np.log(beta[i])) + (1 - share) * float(np.log(posterior[i]))
            mean = mean + (0.5 * log).exp() * noise(g, generator.latent_shape)
        x = mean
    named = Generator(generator.denoiser, generator.scheduler_config, generator.autoencoder, ("a", "b"), tuple(IDS))
    drawn = ours(named, SamplingConfig("ddpm", scheduler_steps, classifier_free_scale=1.0))
    torch.testing.assert_close(drawn, x, rtol=1e-3, atol=1e-3)


def test_guidance_of_three_channels_leaves_the_fourth_alone(folder: Path) -> None:
    """As in DiT's own forward_with_cfg: the rest is the class's own prediction."""
    from lgd.diffusion.types import Step

    generator = load_pipeline(folder)
    named = Generator(generator.denoiser, generator.scheduler_config, generator.autoencoder, ("a", "b"), tuple(IDS))
    x, step, conditions = noise(streams(), (4, 4, 4)), Step(3, 100, 0.5), torch.tensor(IDS)
    with torch.no_grad():
        own = classifier_free(named, conditions, 1.0)(x, step)
        all_four = classifier_free(named, conditions, 4.0)(x, step)
        three = classifier_free(named, conditions, 4.0, 3)(x, step)
    torch.testing.assert_close(three.eps[:, :3], all_four.eps[:, :3], rtol=0, atol=0)
    torch.testing.assert_close(three.eps[:, 3], own.eps[:, 3])
    assert not torch.allclose(three.eps[:, 3], all_four.eps[:, 3])
    assert three.variance is not None
    torch.testing.assert_close(three.variance, own.variance)


def test_a_published_config_of_the_older_class_loads(folder: Path, tmp_path: Path) -> None:
    """facebook/DiT-XL-2-256 names its transformer Transformer2DModel and has fields that DiT does not."""
    old = tmp_path / "old"
    shutil.copytree(folder, old)
    config = json.loads((old / "transformer/config.json").read_text())
    more = {"_class_name": "Transformer2DModel", "cross_attention_dim": None, "num_vector_embeds": None}
    write_json(old / "transformer/config.json", {**config, **more, "only_cross_attention": False})
    a, b = load_pipeline(folder), load_pipeline(old)
    assert all(map(torch.equal, a.denoiser.state_dict().values(), b.denoiser.state_dict().values()))


def test_pickles_are_imported(folder: Path, tmp_path: Path) -> None:
    """A pipeline of pickles is refused with the command that imports it; imported, it is the same generator."""
    weights = "diffusion_pytorch_model"
    copy, out = tmp_path / "mine", tmp_path / "out"
    shutil.copytree(folder, copy)
    for part in ("transformer", "vae"):
        torch.save(load_tensors(copy / part / f"{weights}.safetensors"), copy / part / f"{weights}.bin")
        (copy / part / f"{weights}.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.bin: a pickle, which is not read here; `lgd generator import` makes"):
        pipeline_folder(str(copy))
    assert main(["generator", "import", str(copy), "--out", str(out), "--quiet"]) == 0
    a, b = load_pipeline(folder), load_pipeline(pipeline_folder(str(out)))
    assert all(map(torch.equal, a.denoiser.state_dict().values(), b.denoiser.state_dict().values()))
    assert vocabulary(out).find("n02099601") == 207


def test_bf16_is_close_and_half_the_size(folder: Path) -> None:
    exact, low = load_pipeline(folder), load_pipeline(folder, precision="bfloat16")
    assert {p.dtype for p in low.denoiser.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in low.autoencoder.network.parameters()} == {torch.bfloat16}  # type: ignore[attr-defined]
    from lgd.diffusion.types import Step

    x, step = noise(streams(), (4, 4, 4)), Step(3, 100, 0.5)
    with torch.no_grad():
        a, b = (g.predict(x, step, torch.tensor(IDS)) for g in (exact, low))
    assert b.eps.dtype == torch.float32
    torch.testing.assert_close(b.eps, a.eps, rtol=0.05, atol=0.02)


def test_words_and_wordnet_ids_are_known(folder: Path) -> None:
    known = vocabulary(folder)
    assert [known.find(name) for name in ("Golden_Retriever", "tinca tinca", "n02099601", "n15075141")] == [
        207, 0, 207, 999,
    ]  # fmt: skip
    assert known.find("axolotl") is None


def without_weight(path: Path, name: str) -> None:
    weights = dict(load_tensors(path))
    del weights[name]
    save_tensors(path, weights)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: shutil.rmtree(f / "vae"), "it lacks vae/config.json"),
        (lambda f: shutil.rmtree(f / "transformer"), "it lacks transformer/config.json"),
        (lambda f: (f / "model_index.json").unlink(), "it lacks model_index.json"),
        (
            lambda f: write_json(f / "model_index.json", {"_class_name": "SDPipeline"}),
            "SDPipeline is not a supported pipeline",
        ),
        (lambda f: new_vae(3).save_pretrained(f / "vae"), "the vae's latents have 3 channels, the transformer's 4"),
        (
            lambda f: (f / "transformer/diffusion_pytorch_model.safetensors").rename(f / "transformer/x.bin"),
            "transformer/x.bin: a pickle",
        ),
        (lambda f: (f / "transformer/diffusion_pytorch_model.safetensors").write_bytes(b"x" * 99), "cannot be loaded"),
        (
            lambda f: without_weight(f / "transformer/diffusion_pytorch_model.safetensors", "proj_out_2.bias"),
            "transformer: weights of DiTTransformer2DModel are missing .1.: first proj_out_2.bias",
        ),
        (
            lambda f: without_weight(f / "vae/diffusion_pytorch_model.safetensors", "decoder.conv_in.weight"),
            "vae: weights of AutoencoderKL are missing .1.: first decoder.conv_in.weight",
        ),
        (
            lambda f: write_json(
                f / "scheduler/scheduler_config.json",
                {**read_json(f / "scheduler/scheduler_config.json"), "prediction_type": "flow"},
            ),
            "predicts 'flow'; supported: epsilon, sample, v_prediction",
        ),
    ],
)
def test_what_is_wrong_is_named(folder: Path, tmp_path: Path, spoil: object, message: str) -> None:
    copy = tmp_path / "dit"
    shutil.copytree(folder, copy)
    spoil(copy)  # type: ignore[operator]
    config = GeneratorConfig(source=f"pretrained:{copy}")
    with pytest.raises(UserError, match=message):
        open_generator(config, tmp_path, ("golden retriever", "tench"), (3, 8, 8))


def test_a_name_that_is_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="no such folder: /nowhere/at/all"):
        pipeline_folder("/nowhere/at/all")
    with pytest.raises(UserError, match="nobody/nothing is neither a folder, nor in the Hub's cache"):
        pipeline_folder("nobody/nothing")
    with pytest.raises(UserError, match="neither a folder nor a Hub repository: a--b/c"):
        pipeline_folder("a--b/c")


@pytest.fixture(scope="module")
def run_config(folder: Path, tiny: Config, tmp_path_factory: pytest.TempPathFactory) -> Config:
    table = tmp_path_factory.mktemp("map") / "map.toml"
    table.write_text(
        '[classes]\n0 = "golden retriever"\n1 = "n01440764"\n' + "".join(f"{i} = {i}\n" for i in range(2, 10))
    )
    return with_values(
        tiny,
        {
            "generator.source": f"pretrained:{folder}",
            "generator.class_map": str(table),
            "guidance.space": "sample",
            "guidance.route": "denoiser",
            "guidance.strength": 15.0,
            "sampling.guided_channels": 3,
            "sampling.batch_size": 4,
            "stages.increments": 2,
            "stages.images_per_increment": 1,
            "evaluation.seeds": 1,
        },
    )


def test_a_run_end_to_end(run_config: Config, folder: Path, tmp_path: Path) -> None:
    """VAE decoding, learned-range variance, class map; latents in the store; the source's digests on record."""
    run = distill(run_config, tmp_path / "run")
    latents = load_tensors(run.increment(2) / "groups/0000.safetensors")["latents"]
    assert latents.shape == (5, 4, 4, 4)
    assert read_json(run.metrics)["increments"][-1]["images"] == 20
    source = read_json(run.root / "generator/source.json")
    weights = "transformer/diffusion_pytorch_model.safetensors"
    assert source["files"][weights] == sha256(folder / weights)
    assert not (run.root / "generator/transformer").exists()


def test_a_source_that_changed_is_refused(run_config: Config, folder: Path, tmp_path: Path) -> None:
    copy, out = tmp_path / "dit", tmp_path / "run"
    shutil.copytree(folder, copy)
    config = with_values(
        run_config, {"generator.source": f"pretrained:{copy}", "method": "dit", "stages.increments": 1}
    )
    distill(config, out)
    path = copy / "vae/diffusion_pytorch_model.safetensors"
    save_tensors(path, {name: 2 * tensor for name, tensor in load_tensors(path).items()})
    with pytest.raises(
        UserError, match=r"vae/diffusion_pytorch_model\.safetensors is not the file that .*run was begun"
    ):
        distill(config, out)


def test_a_small_decoder_is_checked_before_any_work_and_kept(run_config: Config, folder: Path, tmp_path: Path) -> None:
    """Its digest is on record; another under its name is refused, and nothing is written for one that misfits."""
    small, out = tmp_path / "small", tmp_path / "run"
    shutil.copytree(folder / "vae", small)
    config = with_values(run_config, {"guidance.decoder": str(small), "stages.increments": 1, "method": "dit"})
    distill(config, out)
    path = small / "diffusion_pytorch_model.safetensors"
    assert read_json(out / "decoder.json")["files"][path.name] == sha256(path)
    save_tensors(path, {name: 2 * tensor for name, tensor in load_tensors(path).items()})
    with pytest.raises(UserError, match=r"small: diffusion_pytorch_model\.safetensors is not the file that .*run was"):
        distill(config, out)
    new_vae(latent_channels=3).save_pretrained(small)
    with pytest.raises(UserError, match="small: decodes latents of 3 channels; the generator's have 4"):
        distill(config, tmp_path / "misfit")
    assert not (tmp_path / "misfit").exists()


def test_a_generator_of_ours_as_source(finished: Path, tiny: Config, tmp_path: Path) -> None:
    """The generator of a finished run draws the same images in another run."""
    config = with_values(tiny, {"generator.source": str(finished / "generator"), "stages.increments": 2})
    run = distill(config, tmp_path / "run")
    for image in sorted((run.root / "increments").rglob("*.png")):
        assert sha256(image) == sha256(finished / image.relative_to(run.root))


def test_pixels_of_another_size_are_refused(finished: Path) -> None:
    with pytest.raises(UserError, match=r"makes pixels of \(1, 8, 8\) \(C, H, W\), not images of \(3, 8, 8\)"):
        load_generator(finished / "generator", (3, 8, 8))
    with pytest.raises(UserError, match=r"not a generator made by lgd; did you mean .*run/generator\?"):
        load_generator(finished)
