"""Published weights, imported, draw what DiT's formulas draw; what is wrong with a file is said in one line."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from tests.diffusion import original_dit
from tests.diffusion.pipelines import LABELS, new_vae
from torch import Tensor

from lgd.cli.main import main
from lgd.config import SamplingConfig
from lgd.diffusion import vae_names
from lgd.diffusion.folder import load_source, source_vocabulary
from lgd.diffusion.sampler import sample
from lgd.guidance.classifier_free import classifier_free
from lgd.rng import noise
from lgd.storage.files import load_tensors, read_json, save_tensors, sha256, write_json

HEADS = 2
IDS = (207, 3)
STEPS = 10
WEIGHTS = "diffusion_pytorch_model"


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return original_dit.random_weights()


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny, as diffusers saves it today."""
    folder = tmp_path_factory.mktemp("vae") / "sd-vae-ft-mse"
    new_vae().save_pretrained(folder)
    return folder


def in_diffusers_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """As the published conversion writes them: the embedders in every block, queries, keys and values apart."""
    found = {
        "pos_embed.proj.weight": weights["x_embedder.proj.weight"],
        "pos_embed.proj.bias": weights["x_embedder.proj.bias"],
    }
    for i in (0, 1):
        there, here = f"transformer_blocks.{i}", f"blocks.{i}"
        found[f"{there}.norm1.emb.class_embedder.embedding_table.weight"] = weights["y_embedder.embedding_table.weight"]
        for kind in ("weight", "bias"):
            q, k, v = weights[f"{here}.attn.qkv.{kind}"].chunk(3)
            found |= {
                f"{there}.norm1.emb.timestep_embedder.linear_1.{kind}": weights[f"t_embedder.mlp.0.{kind}"],
                f"{there}.norm1.emb.timestep_embedder.linear_2.{kind}": weights[f"t_embedder.mlp.2.{kind}"],
                f"{there}.norm1.linear.{kind}": weights[f"{here}.adaLN_modulation.1.{kind}"],
                f"{there}.attn1.to_q.{kind}": q,
                f"{there}.attn1.to_k.{kind}": k,
                f"{there}.attn1.to_v.{kind}": v,
                f"{there}.attn1.to_out.0.{kind}": weights[f"{here}.attn.proj.{kind}"],
                f"{there}.ff.net.0.proj.{kind}": weights[f"{here}.mlp.fc1.{kind}"],
                f"{there}.ff.net.2.{kind}": weights[f"{here}.mlp.fc2.{kind}"],
            }
    for kind in ("weight", "bias"):
        found[f"proj_out_1.{kind}"] = weights[f"final_layer.adaLN_modulation.1.{kind}"]
        found[f"proj_out_2.{kind}"] = weights[f"final_layer.linear.{kind}"]
    return found


def in_older_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """An AutoencoderKL's attention as it was called when the published ones were saved."""
    older = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    found = {}
    for name, tensor in tensors.items():
        for new, old in older.items():
            name = name.replace(new, old)
        found[name] = tensor
    return found


def save_published(folder: Path, weights: dict[str, Tensor]) -> Path:
    """The files of facebook/DiT-XL-2-256, tiny: pickles, the class's older name, norms that add 1e-5."""
    for part in ("transformer", "vae", "scheduler"):
        (folder / part).mkdir(parents=True)
    torch.save(in_diffusers_names(weights), folder / "transformer" / f"{WEIGHTS}.bin")
    config = {
        "_class_name": "Transformer2DModel", "num_attention_heads": HEADS, "attention_head_dim": 8, "in_channels": 4,
        "out_channels": 8, "num_layers": 2, "sample_size": 4, "patch_size": 2, "num_embeds_ada_norm": 1000,
        "norm_type": "ada_norm_zero", "activation_fn": "gelu-approximate", "norm_eps": 1e-5,
        "cross_attention_dim": None,
    }  # fmt: skip
    write_json(folder / "transformer/config.json", config)
    vae = new_vae()
    torch.save(in_older_names(vae.state_dict()), folder / "vae" / f"{WEIGHTS}.bin")
    vae.save_config(folder / "vae")
    write_json(
        folder / "vae/config.json", {**read_json(folder / "vae/config.json"), "_name_or_path": "x/sd-vae-ft-ema"}
    )
    scheduler = {
        "_class_name": "DDIMScheduler", "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear",
        "clip_sample": False, "num_train_timesteps": 1000, "prediction_type": "epsilon",
    }  # fmt: skip
    write_json(folder / "scheduler/scheduler_config.json", scheduler)
    write_json(folder / "model_index.json", {"_class_name": "DiTPipeline", "id2label": LABELS})
    return folder


def save_checkpoint(path: Path, weights: dict[str, Tensor]) -> Path:
    """As DiT's and Minimax Diffusion's training writes it, with other weights in the part that is not averaged."""
    averaged = {f"module.{name}": tensor for name, tensor in weights.items()}
    raw = {name: tensor + 1 for name, tensor in weights.items()}
    layers = torch.nn.Linear(2, 2)
    optimiser = torch.optim.AdamW(layers.parameters())
    layers(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    args = Namespace(model="DiT-XL/2", image_size=256, condense=True, ckpt=None, lambda_pos=0.002)
    torch.save({"model": raw, "ema": averaged, "opt": optimiser.state_dict(), "args": args}, path)
    return path


def drawn(source: Path) -> tuple[Tensor, list[Tensor]]:
    """Latents that an imported generator draws with CFG 4 on three channels, and the noises that they were made of."""
    generator = load_source(str(source))
    generator = replace(generator, class_names=("a", "b"), class_ids=IDS)
    config = SamplingConfig("ddpm", STEPS, classifier_free_scale=4.0, guided_channels=3)
    streams, same = ([torch.Generator().manual_seed(seed) for seed in (5, 6)] for _ in range(2))
    denoiser = classifier_free(generator, generator.conditions_of(torch.tensor([0, 1]), (5, 6)), 4.0, 3)
    latents = sample(denoiser, generator.schedule(config), noise(streams, generator.latent_shape), streams)
    return latents, [noise(same, generator.latent_shape) for _ in range(STEPS)]


def imported(out: Path, source: Path, *more: object) -> Path:
    assert main(["generator", "import", str(source), "--out", str(out), "--quiet", *map(str, more)]) == 0
    return out


@pytest.mark.parametrize("kind", ["own names", "training", "minimax", "diffusers"])
def test_imported_weights_sample_what_the_formulas_sample(
    kind: str, weights: dict[str, Tensor], vae: Path, tmp_path: Path
) -> None:
    if kind == "diffusers":
        out = imported(tmp_path / "out", save_published(tmp_path / "DiT-XL-2-256", weights))
    else:
        weights = original_dit.tuned(weights) if kind == "minimax" else weights
        path = tmp_path / "DiT-XL-2-256x256.pt"
        torch.save(weights, path) if kind == "own names" else save_checkpoint(path, weights)
        out = imported(tmp_path / "out", path, "--vae", vae, "--heads", HEADS)
    latents, noises = drawn(out)
    expected = original_dit.ddpm(weights, HEADS, noises, torch.tensor(IDS), 4.0)
    torch.testing.assert_close(latents.double(), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_what_is_recorded(weights: dict[str, Tensor], vae: Path, tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "0012000.pt", weights)
    out = imported(tmp_path / "out", path, "--vae", vae, "--heads", HEADS)
    assert read_json(out / "generator.json") == {
        "time_frequencies": "dit",
        "licence": "CC BY-NC 4.0",
        "source": str(path),
        "weights": "ema",
        "sha256": {"0012000.pt": sha256(path)},
    }
    assert read_json(out / "vae/autoencoder.json") == {
        "variant": "ft-mse",
        "licence": "MIT",
        "source": str(vae),
        "sha256": {f"{WEIGHTS}.safetensors": sha256(vae / f"{WEIGHTS}.safetensors")},
    }
    config = read_json(out / "transformer/config.json")
    assert (config["norm_eps"], config["activation_fn"]) == (1e-6, "gelu-approximate")
    known = source_vocabulary(str(out))
    assert [known.find(name) for name in ("tench", "n02099601", "Toilet Paper")] == [0, 207, 999]
    assert not list(out.rglob("*.pt"))
    again = imported(tmp_path / "again", path, "--vae", vae, "--heads", HEADS, "--licence", "MIT")
    assert read_json(again / "generator.json")["licence"] == "MIT"
    for part in ("transformer", "vae"):
        assert sha256(again / part / f"{WEIGHTS}.safetensors") == sha256(out / part / f"{WEIGHTS}.safetensors")


def test_a_published_pipeline_keeps_its_labels_and_schedule(weights: dict[str, Tensor], tmp_path: Path) -> None:
    published = save_published(tmp_path / "DiT-XL-2-256", weights)
    out = imported(tmp_path / "out", published)
    assert read_json(out / "model_index.json")["id2label"] == LABELS
    assert read_json(out / "generator.json")["time_frequencies"] == "dit"  # by the embedder that all blocks share
    assert read_json(out / "transformer/config.json")["norm_eps"] == 1e-6
    assert read_json(out / "vae/autoencoder.json")["variant"] == "ft-ema"
    schedule = "scheduler/scheduler_config.json"
    assert read_json(out / schedule) == read_json(published / schedule)
    found = in_older_names(load_tensors(out / f"vae/{WEIGHTS}.safetensors"))
    expected = torch.load(published / f"vae/{WEIGHTS}.bin", weights_only=True)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_another_autoencoder_than_the_pipelines(weights: dict[str, Tensor], vae: Path, tmp_path: Path) -> None:
    out = imported(tmp_path / "out", save_published(tmp_path / "DiT-XL-2-256", weights), "--vae", vae)
    assert read_json(out / "vae/autoencoder.json")["variant"] == "ft-mse"


def test_it_says_licence_and_autoencoder(
    weights: dict[str, Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published, out = save_published(tmp_path / "DiT-XL-2-256", weights), tmp_path / "out"
    assert main(["generator", "import", str(published), "--out", str(out)]) == 0
    text = capsys.readouterr().err
    assert "a DiT of 2 blocks of width 16, 1000 classes, with the timestep frequencies of dit" in text
    assert "licence of DiT's weights: CC BY-NC 4.0: not for commercial use" in text
    assert "autoencoder: ft-ema; Minimax Diffusion, IGD and MGD3 sample with ft-mse" in text
    assert f"use it with --generator.source {out}" in text
    assert main(["generator", "show", str(out)]) == 0
    text = capsys.readouterr().out
    digest = sha256(published / f"transformer/{WEIGHTS}.bin")[:12]
    assert f"from         {published}, all weights, SHA-256 {digest}...; autoencoder ft-ema" in text
    assert "licence      CC BY-NC 4.0; autoencoder MIT" in text
    assert "time         embedded with dit's frequencies, exp(-ln(10000) i / 128); by generator.json" in text
    assert "learned variance" in text


def compvis_names(tensors: dict[str, Tensor], blocks: int) -> dict[str, Tensor]:
    """The names of CompVis' code: levels of the decoder counted from the last, attention as 1 x 1 convolutions."""
    plain = {
        "conv_norm_out": "norm_out", "mid_block.resnets.0": "mid.block_1", "mid_block.resnets.1": "mid.block_2",
        "mid_block.attentions.0.group_norm": "mid.attn_1.norm", "mid_block.attentions.0.to_q": "mid.attn_1.q",
        "mid_block.attentions.0.to_k": "mid.attn_1.k", "mid_block.attentions.0.to_v": "mid.attn_1.v",
        "mid_block.attentions.0.to_out.0": "mid.attn_1.proj_out", "conv_shortcut": "nin_shortcut",
    }  # fmt: skip
    found = {}
    for name, tensor in tensors.items():
        for i in range(blocks):
            name = name.replace(f"up_blocks.{i}.upsamplers.0", f"up.{blocks - 1 - i}.upsample")
            name = name.replace(f"up_blocks.{i}.resnets", f"up.{blocks - 1 - i}.block")
            name = name.replace(f"down_blocks.{i}.downsamplers.0", f"down.{i}.downsample")
            name = name.replace(f"down_blocks.{i}.resnets", f"down.{i}.block")
        for new, old in plain.items():
            name = name.replace(new, old)
        attention = "mid.attn_1." in name and name.endswith("weight") and tensor.dim() == 2
        found[name] = tensor[:, :, None, None] if attention else tensor
    return found


@pytest.mark.parametrize("form", ["safetensors", "bin", "older.bin", "ckpt"])
def test_an_autoencoder_alone(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a weight file of any of the published forms; then as --vae of a DiT, whose record keeps its variant."""
    network = new_vae()
    monkeypatch.setattr(vae_names, "SD", dict(vae_names.known_arguments(dict(network.config))))
    tensors, path = network.state_dict(), tmp_path / f"vae-ft-ema-560000.{form}"
    if form == "safetensors":
        save_tensors(path, tensors)
    elif form == "ckpt":
        names = compvis_names(tensors, 2)
        by_diffusers = convert_ldm_vae_checkpoint(names, {**network.config, "block_out_channels": (4, 8)})
        assert all(torch.equal(by_diffusers[name], tensors[name]) for name in tensors)
        torch.save({"state_dict": {**names, "loss.logvar": torch.zeros(())}}, path)
    else:
        torch.save(in_older_names(tensors) if "older" in form else tensors, path)
    out = imported(tmp_path / "vae", path)
    found = AutoencoderKL.from_pretrained(out, use_safetensors=True).state_dict()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert read_json(out / "autoencoder.json")["variant"] == "ft-ema"
    torch.save(original_dit.random_weights(classes=10), tmp_path / "dit.pt")
    whole = imported(tmp_path / "whole", tmp_path / "dit.pt", "--vae", out, "--heads", HEADS)
    assert read_json(whole / "vae/autoencoder.json")["variant"] == "ft-ema"
    assert "id2label" not in read_json(whole / "model_index.json")


def test_stable_diffusions_own_sizes() -> None:
    """By its published number of parameters, without weights."""
    with torch.device("meta"):
        network: Any = AutoencoderKL(**vae_names.SD)
    assert sum(p.numel() for p in network.parameters()) == 83_653_863
    assert network.config.scaling_factor == 0.18215


def test_a_network_trained_with_diffusers_needs_a_word(
    weights: dict[str, Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Embedders that differ between the blocks are of no conversion; the user says which frequencies they know."""
    published = save_published(tmp_path / "mine", weights)
    path = published / f"transformer/{WEIGHTS}.bin"
    tensors = in_diffusers_names(weights)
    name = "transformer_blocks.1.norm1.emb.timestep_embedder.linear_1.bias"
    torch.save({**tensors, name: tensors[name] + 1}, path)
    assert main(["generator", "import", str(published), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    text = capsys.readouterr().err
    assert "mine: nothing tells the frequencies of its timestep embedding; set " in text
    assert text.count("\n") == 1
    out = imported(tmp_path / "out", published, "--time-frequencies", "diffusers")
    record = read_json(out / "generator.json")
    assert (record["time_frequencies"], record["licence"]) == ("diffusers", "unknown")
    assert read_json(out / "transformer/config.json")["norm_eps"] == 1e-5


class Foreign:
    """An object that no reader of weights should build."""


def changed(weights: dict[str, Tensor], **others: Any) -> dict[str, Any]:
    found = {**weights, **others}
    return {name: value for name, value in found.items() if value is not None}


BIAS = "final_layer.linear.bias"
SPOILT: list[tuple[str, Any, str]] = [
    ("a weight is missing", {"blocks.1.mlp.fc2.bias": None}, "weights of DiT are missing (1): first blocks.1.mlp.fc2"),
    ("no position embedding", {"pos_embed": None}, "lacks pos_embed, so it is no class-conditional DiT"),
    ("an unknown name", {"blocks.0.gamma": torch.ones(16)}, "names are unknown to DiT (1): first blocks.0.gamma"),
    ("a block is left out", {"blocks.7.attn.qkv.bias": torch.ones(48)}, "of DiT are missing (10): first blocks.2."),
    ("another width", {"blocks.1.mlp.fc1.weight": torch.ones(64, 24)}, "is of shape (64, 24), DiT has (64, 16)"),
    ("another last layer", {BIAS: torch.ones(12)}, "final_layer.linear.bias has 12 values"),
    ("no table", {"y_embedder.embedding_table.weight": torch.ones(())}, "is no table of classes and a null class"),
    ("no last layer", {BIAS: None}, "lacks final_layer.linear.bias, so it is no class-conditional DiT"),
    ("learned positions", {"pos_embed": torch.ones(1, 4, 16)}, "position embedding is 1 off from DiT's sines"),
    ("NaN", {"t_embedder.mlp.0.bias": torch.full((16,), torch.nan)}, "'t_embedder.mlp.0.bias' holds NaN or infinity"),
    ("whole numbers", {BIAS: torch.ones(32, dtype=torch.int64)}, "holds torch.int64, not floating-point"),
    ("a huge claim", {BIAS: torch.ones(1).expand(32)}, "claims to be (32,), for which the file is too small"),
    ("a number", {"epoch": 3}, "'epoch' is no tensor but int; save the network's state_dict alone"),
    ("an object", {"epoch": Foreign()}, "holds objects beyond tensors ("),
    ("a function", {"epoch": print}, "holds objects beyond tensors (print), which could run code when read"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), [row[1:] for row in SPOILT], ids=[row[0] for row in SPOILT])
def test_a_bad_checkpoint_is_one_line(
    change: dict[str, Any],
    message: str,
    weights: dict[str, Tensor],
    vae: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, out = tmp_path / "dit.pt", tmp_path / "out"
    torch.save(changed(weights, **change), path)
    command = ["generator", "import", str(path), "--out", str(out), "--vae", str(vae), "--heads", str(HEADS)]
    assert main(command) == 2
    text = capsys.readouterr().err
    assert f"{path}: " in text
    assert message in text
    assert text.count("\n") == 1
    assert not out.exists()


def vae_with(path: Path, **others: Any) -> None:
    tensors = {**new_vae().state_dict(), **others}
    torch.save({name: value for name, value in tensors.items() if value is not None}, path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.pt"], "SOURCE: no such folder: nothing.pt"),
        (["dit.pt", "--heads", "2", "--vae", "nothing.pt"], "--vae: no such folder: nothing.pt"),
        (["dit.pt", "--heads", "2"], "dit.pt: holds no autoencoder; --vae names one, a folder, a file or stabilityai/"),
        (["dit.pt", "--vae", "vae"], "of width 16, none of DiT's (1152, 1024, 768, 384); give the heads (--heads)"),
        (["dit.pt", "--vae", "vae", "--heads", "3"], "of width 16, none of DiT's"),
        (["dit.pt", "--vae", "vae", "--heads", "-1"], "--heads must be at least 1, not -1"),
        (["dit.pt", "--vae", "dit.pt", "--heads", "2"], "dit.pt: not Stable Diffusion's autoencoder"),
        (["dit.pt", "--vae", "vae3", "--heads", "2"], "vae3: latents of 3 channels, the denoiser's 4"),
        (["vae", "--vae", "vae"], "vae: is an autoencoder itself, so --vae has no use"),
        (["vae.bin"], "vae.bin: weights of Stable Diffusion's autoencoder are missing"),
        (["lacking"], "lacking: weights of this AutoencoderKL are missing (1): first decoder.conv_in.bias"),
        (["strange"], "strange: names are unknown to this AutoencoderKL (1): first decoder.extra"),
        (["wider"], "wider: encoder.conv_in.bias is of shape (8,), this AutoencoderKL has (4,)"),
        (["endless"], "endless: config.json has more layers than there are weights"),
        (["text.pt"], "text.pt: corrupt, not safetensors"),
        (["cut.pt"], "cut.pt: cannot be read as weights: "),
        (["list.pt"], "list.pt: holds no weights by name, but list; save the network's state_dict alone"),
        (["other.pt"], "other.pt: holds neither a DiT nor an autoencoder, but a"),
        (["empty"], "empty: no weights: it lacks diffusion_pytorch_model.safetensors or .bin"),
        (["lone.bin"], "lone.bin: needs the config.json of a DiTTransformer2DModel beside it; import its folder"),
    ],
)
def test_a_bad_command_is_one_line(
    arguments: list[str],
    message: str,
    weights: dict[str, Tensor],
    vae: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(weights, "dit.pt")
    Path("cut.pt").write_bytes(Path("dit.pt").read_bytes()[:2000])
    Path("text.pt").write_text("These are no weights.")
    torch.save([torch.ones(2)], "list.pt")
    torch.save({"a": torch.ones(2)}, "other.pt")
    torch.save(in_diffusers_names(weights), "lone.bin")
    vae_with(Path("vae.bin"))
    Path("empty").mkdir()
    Path("vae").symlink_to(vae)
    new_vae(3).save_pretrained("vae3")
    spoilt: dict[str, dict[str, Any]] = {
        "lacking": {"decoder.conv_in.bias": None},
        "strange": {"decoder.extra": torch.ones(2)},
        "wider": {"encoder.conv_in.bias": torch.ones(8)},
        "endless": {},
    }
    for name, others in spoilt.items():
        new_vae().save_config(name)
        vae_with(Path(name) / f"{WEIGHTS}.bin", **others)
    config = json.loads(Path("endless/config.json").read_text())
    write_json(Path("endless/config.json"), {**config, "layers_per_block": 10**9})
    assert main(["generator", "import", *arguments, "--out", "out"]) == 2
    text = capsys.readouterr().err
    assert message in text
    assert text.count("\n") == 1
    assert not Path("out").exists()


def test_an_existing_folder_is_left_alone(weights: dict[str, Tensor], vae: Path, tmp_path: Path) -> None:
    path = tmp_path / "dit.pt"
    torch.save(weights, path)
    command = [str(path), "--out", str(tmp_path / "out"), "--vae", str(vae), "--heads", "2", "--quiet"]
    assert main(["generator", "import", *command]) == 0
    before = sha256(tmp_path / "out/model_index.json")
    assert main(["generator", "import", *command]) == 2
    assert main(["generator", "import", *command, "--overwrite"]) == 0
    assert sha256(tmp_path / "out/model_index.json") == before
