"""LoRA of every family: which parameters learn, the merged weights, the adapter in peft's files, and resuming."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, DiTTransformer2DModel, FlowMatchEulerDiscreteScheduler, UNet2DConditionModel
from peft import PeftModel
from tests.diffusion.pipelines import new_pipeline, save_pipeline
from tests.diffusion.unets import save_class_unet, save_sdxl, save_stable_diffusion
from torch import Tensor

from lgd.config import DatasetConfig, GeneratorConfig, LoraConfig, PromptConfig, SamplingConfig
from lgd.data.imageset import ImageSet
from lgd.diffusion.describe import describe
from lgd.diffusion.families import FAMILIES, Embeddings
from lgd.diffusion.families.dit import DIT
from lgd.diffusion.families.flow import noise_levels, schedule
from lgd.diffusion.families.unet_class import UNET_CLASS
from lgd.diffusion.finetune import check_targets, for_lora, merge
from lgd.diffusion.folder import check_null, licence_of, load_source, open_generator, pin_source
from lgd.diffusion.generator import Generator
from lgd.diffusion.latents import PixelSource
from lgd.diffusion.sampler import sample
from lgd.diffusion.starts import check_generator
from lgd.diffusion.train import Batch, begin, conditions_of, one_step
from lgd.diffusion.train_generator import GeneratorTraining, make_generator
from lgd.diffusion.weight_files import weight_shapes
from lgd.errors import UserError
from lgd.export.card import generator_of
from lgd.guidance.classifier_free import classifier_free
from lgd.storage.files import load_tensors, sha256

NAMES = ("grey, or blue cat", "dog")


def save_flow(folder: Path) -> None:
    save_pipeline(folder)
    FlowMatchEulerDiscreteScheduler(shift=3.0).save_pretrained(folder / "scheduler")


SAVE: dict[str, Callable[[Path], Any]] = {
    "dit": save_pipeline,
    "flow": save_flow,
    "unet-class": lambda folder: save_class_unet(folder, 3, ("dog", "eel")),
    "unet-text": lambda folder: save_stable_diffusion(folder, "v_prediction"),
    "unet-text-xl": save_sdxl,
}
SIDE = {"unet-text-xl": 32}
"""of the images; 8 otherwise"""


def training_of(source: Path, side: int = 8, **more: Any) -> GeneratorTraining:
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (12, 3, side, side), dtype=torch.uint8, generator=draw)
    config = GeneratorConfig(
        source=f"pretrained:{source}",
        tune="lora",
        lora=LoraConfig(rank=2),
        prompts=PromptConfig(("a {class}", "one {class}")),
        steps=4,
        batch_size=4,
        warmup_steps=0,
        learning_rate=1e-2,
        threads=1,
    )
    labels = torch.arange(12) % 2
    return GeneratorTraining(replace(config, **more), DatasetConfig(), ImageSet(images, labels, NAMES), "cpu")


def samples(generator: Generator) -> Tensor:
    g = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    x = torch.stack([torch.randn(generator.latent_shape, generator=one) for one in g])
    ids = generator.conditions_of(torch.tensor([0, 1]), (0, 1))
    return sample(classifier_free(generator, ids, 2.0), generator.schedule(SamplingConfig("ddim", 4)), x, g)


def test_every_family_is_here() -> None:
    assert set(SAVE) == set(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tuned_generator_of_every_family(family: str, tmp_path: Path) -> None:
    """Interrupted it ends with the same bytes; it samples what it did before merging, and is told."""
    base, whole, parts = tmp_path / "base", tmp_path / "whole", tmp_path / "parts"
    SAVE[family](base)
    (base / "README.md").write_text("---\nlicense: mit\n---\n")
    training = training_of(base, SIDE.get(family, 8))
    check_generator(training.config, training.images)
    before: list[Tensor] = []
    make_generator(training, whole, watch=lambda generator, _: before.append(samples(generator)))

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            make_generator(training, parts, save_every=0, watch=stop)
    make_generator(training, parts)
    names = sorted(str(path.relative_to(whole)) for path in whole.rglob("*.safetensors"))
    assert "adapter/adapter_model.safetensors" in names
    assert [sha256(whole / name) for name in names] == [sha256(parts / name) for name in names]

    tuned = open_generator(training.config, whole, NAMES, training.images.shape)
    torch.testing.assert_close(samples(tuned), before[-1], rtol=1e-3, atol=1e-3)
    part = FAMILIES[family].part
    old, new = (load_tensors(next((place / part).glob("*.safetensors"))) for place in (base, whole))
    assert old.keys() == new.keys()
    changed = {name for name in new if not torch.equal(new[name], old[name])}
    tables = {name for name in changed if "class_embed" in name}
    targets = {name for name in new if name.removesuffix(".weight").endswith(training.config.lora.targets)}
    assert changed - tables == {name for name in targets if name.endswith(".weight")}
    assert bool(tables) == (FAMILIES[family].with_classes is not None)

    again = load_source(str(whole), training.images.shape)  # as generator.source of another run
    config = GeneratorConfig(source=str(whole), prompts=training.config.prompts)
    reopened = open_generator(config, tmp_path / "kept", NAMES, training.images.shape)
    torch.testing.assert_close(samples(reopened), samples(tuned))
    assert again.family is FAMILIES[family]
    check_null(str(whole), 2.0)
    text = describe(str(whole))
    assert f"{base}, by LoRA of rank 2" in text
    assert "adapter/ has the updates alone" in text
    assert licence_of(whole) == "mit"
    told = [export_of(json.loads((whole / "source.json").read_text()), training.config.source)]
    pin_source(config, tmp_path / "kept" / "source.json", tmp_path / "run")
    told += [export_of(json.loads((tmp_path / "kept" / "source.json").read_text()), config.source)]
    summary = FAMILIES[family].summary
    assert told == [
        f"base, a {summary}, tuned on these images by LoRA of rank 2; licence: mit",
        f"whole, a {summary}, tuned from base by LoRA of rank 2; licence: mit",
    ]


def export_of(record: dict[str, Any], source: str) -> str:
    """Return what a card says about the generator of a run with this record."""
    config = {"generator": {"source": source}, "dataset": {"source": "folder:PHOTOS"}}
    return generator_of(SimpleNamespace(config=config, source=record, real=0, samples=[None]))  # type: ignore[arg-type]


@pytest.mark.parametrize("null", [True, False])
def test_rows_of_a_class_unet_start_where_their_old_ones_are(null: bool, tmp_path: Path) -> None:
    """Without a null class, new classes and the null class start from the mean row."""
    save_class_unet(tmp_path / "unet", 1, ("cat", "dog") if null else ())
    old = load_source(f"pretrained:{tmp_path / 'unet'}", (1, 8, 8)).denoiser
    new = UNET_CLASS.with_classes(old, [1, None])  # type: ignore[misc]
    table = old.class_embedding.weight
    spare = table[2] if null else table.mean(0)
    torch.testing.assert_close(new.class_embedding.weight, torch.stack([table[1], spare, spare]))
    assert UNET_CLASS.null(new, None) == 2
    x, t = torch.randn(1, 1, 8, 8), torch.tensor([300])
    with torch.no_grad():
        outputs = [net(x, t, class_labels=torch.tensor([k])).sample for net, k in ((new, 0), (old, 1))]
    torch.testing.assert_close(*outputs)


def test_the_adapter_is_peft_s(tmp_path: Path) -> None:
    """Peft's own model of base and adapter computes what the merged network does."""
    save_stable_diffusion(tmp_path / "sd")
    make_generator(training_of(tmp_path / "sd"), tmp_path / "out")
    base = UNet2DConditionModel.from_pretrained(tmp_path / "sd" / "unet", low_cpu_mem_usage=False)
    theirs = PeftModel.from_pretrained(base, tmp_path / "out" / "adapter").eval()
    merged = UNet2DConditionModel.from_pretrained(tmp_path / "out" / "unet", low_cpu_mem_usage=False)
    x, hidden = torch.randn(2, 4, 4, 4), torch.randn(2, 24, 8)
    with torch.no_grad():
        outputs = [network(x, 500, encoder_hidden_states=hidden).sample for network in (theirs, merged)]
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)
    about = json.loads((tmp_path / "out" / "adapter" / "adapter_config.json").read_text())
    assert about["base_model_name_or_path"] == str(tmp_path / "sd")


def test_few_parameters_of_dit_xl_learn() -> None:
    """By the layers' sizes: rank times inputs and outputs, and 28 tables of ten classes and the null class."""
    with torch.device("meta"):
        denoiser = for_lora(DiTTransformer2DModel(out_channels=8, num_embeds_ada_norm=10), GeneratorConfig())
    d, r = 1152, 16
    attention, mlp, table = 4 * r * 2 * d, 2 * r * (d + 4 * d), 11 * d
    trained = sum(p.numel() for p in denoiser.parameters() if p.requires_grad)
    assert trained == 28 * (attention + mlp + table)
    assert 0.01 < trained / sum(p.numel() for p in denoiser.parameters()) < 0.02


def test_a_layer_s_update_is_b_times_a() -> None:
    """Drawn from the seed and without effect at first; merged afterwards, by matrices."""
    plain, other = new_pipeline().transformer, new_pipeline().transformer
    config = GeneratorConfig(lora=LoraConfig(3, ("to_q",)))
    tuned, again = for_lora(plain, config), for_lora(other, config)
    assert all(torch.equal(a, b) for a, b in zip(tuned.parameters(), again.parameters(), strict=True))
    layer = tuned.transformer_blocks[0].attn1.to_q
    weight = layer.get_base_layer().weight.clone()
    B, A = layer.lora_B["default"].weight, layer.lora_A["default"].weight
    assert B.shape == (16, 3)
    assert A.shape == (3, 16)
    assert not B.any()
    torch.nn.init.normal_(B)
    merge(tuned)
    torch.testing.assert_close(tuned.transformer_blocks[0].attn1.to_q.weight, weight + B @ A)
    assert not [name for name, _ in tuned.named_parameters() if "lora" in name]


def test_training_draws_the_prompts_of_a_class() -> None:
    labels = torch.arange(400) % 2
    state = begin(torch.nn.Linear(1, 1), GeneratorConfig(), 4, DIT, Embeddings({}, (3, 1)))
    drawn = conditions_of(state, labels)
    assert set(drawn[labels == 1].tolist()) == {3}
    assert torch.bincount(drawn[labels == 0]).min() > 40
    assert torch.equal(conditions_of(begin(torch.nn.Linear(1, 1), GeneratorConfig(), 4), labels), labels)


def test_a_flow_learns_its_velocity_on_the_straight_path() -> None:
    """Against flow matching written out: z = (1 - sigma) x0 + sigma eps at time 1000 sigma, target eps - x0."""
    seen: list[Tensor] = []

    def call(denoiser: Any, z: Tensor, t: Tensor, conditions: Tensor, embeddings: object) -> Tensor:
        seen.extend((z, t))
        return 0 * denoiser.weight.sum() * z

    config = GeneratorConfig(label_dropout=0.0, min_snr=0.0)
    x0 = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    images = ImageSet(((x0 + 1) * 127.5).round().to(torch.uint8), torch.zeros(6, dtype=torch.long), ("a",))
    source = PixelSource(images)
    family = replace(FAMILIES["flow"], call=call, null=lambda denoiser, embeddings: 1)
    state = begin(torch.nn.Linear(1, 1), config, 6, family)
    draw = torch.Generator()
    draw.set_state(state.draw.get_state())
    scheduler = DDPMScheduler.from_config(schedule({"shift": 3.0}, Path()))
    progress = one_step(state, source, Batch(images.images, torch.arange(6), images.labels), scheduler, config)
    t = torch.randint(1000, (6,), generator=draw)
    eps = torch.randn(6, 1, 8, 8, generator=draw)
    sigma = noise_levels(1000, 3.0)[t].float().view(-1, 1, 1, 1)
    exact = source.latents(images.images, None)
    torch.testing.assert_close(seen[0], (1 - sigma) * exact + sigma * eps, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(seen[1], 1000 * sigma.flatten(), rtol=1e-3, atol=0.5)
    assert progress.loss == pytest.approx((eps - exact).square().mean().item(), rel=1e-5)


def test_mistakes_of_targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_class_unet(tmp_path / "unet", 3)
    shapes = weight_shapes(tmp_path / "unet" / "unet")
    check_targets(("conv1",), shapes)
    with pytest.raises(UserError, match=r"no layer's name ends in to_qq; did you mean 'to_q'\? Known: .*to_out\.0"):
        check_targets(("to_qq",), shapes)
    training = training_of(tmp_path / "unet", tune="difffit")
    with pytest.raises(UserError, match="'difffit' is not for a class-conditional U-Net; use one of none, full, lora"):
        check_generator(training.config, training.images)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"lora needs the library peft: pip install 'lgd\[lora\]'"):
        check_targets(("to_q",), shapes)


def test_convolutions_learn_too(tmp_path: Path) -> None:
    save_class_unet(tmp_path / "unet", 3)
    training = training_of(tmp_path / "unet", lora=LoraConfig(2, ("conv1", "conv2")))
    make_generator(training, tmp_path / "out")
    old, new = (
        load_tensors(next((place / "unet").glob("*.safetensors"))) for place in (tmp_path / "unet", tmp_path / "out")
    )
    assert not torch.equal(old["mid_block.resnets.0.conv1.weight"], new["mid_block.resnets.0.conv1.weight"])
