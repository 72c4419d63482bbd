"""The DiT's function on packed weights is diffusers' own."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiTTransformer2DModel
from torch import Tensor

from lgd.config import GeneratorConfig
from lgd.data.imageset import ImageSet
from lgd.diffusion.checkpoint import load_checkpoint, save_checkpoint
from lgd.diffusion.families.dit import new_denoiser, without_own_dropout
from lgd.diffusion.finetune import for_difffit
from lgd.diffusion.latents import PixelSource
from lgd.diffusion.packed import Packed, can_pack
from lgd.diffusion.train import Training, begin, noise_schedule, train

SMALL = GeneratorConfig(blocks=2, heads=2, head_width=8)


def random_dit(config: GeneratorConfig = SMALL, shape: tuple[int, int, int] = (3, 8, 8)) -> Any:
    """With weights that leave no part at zero."""
    denoiser = new_denoiser(config, shape, 5).train()
    draw = torch.Generator().manual_seed(0)
    for parameter in denoiser.parameters():
        torch.nn.init.normal_(parameter, std=0.8 / denoiser.inner_dim**0.5, generator=draw)
    return denoiser


def batch(denoiser: Any, count: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    shape = (denoiser.config.in_channels, denoiser.config.sample_size, denoiser.config.sample_size)
    return torch.randn(count, *shape, generator=draw), torch.tensor([0, 10, 500, 999]), torch.tensor([0, 3, 5, 3])


@pytest.mark.parametrize(("size", "patch", "learned"), [("custom", 2, False), ("tiny", 4, False), ("custom", 1, True)])
def test_value_and_gradients_are_those_of_diffusers(size: str, patch: int, learned: bool) -> None:
    denoiser = random_dit(replace(SMALL, size=size, patch_size=patch))  # type: ignore[arg-type]
    if learned:
        values = {**denoiser.config, "out_channels": 6}
        denoiser = without_own_dropout(DiTTransformer2DModel.from_config(values))
    own = deepcopy(denoiser)
    x, t, y = batch(denoiser)
    expected = own(x, timestep=t, class_labels=y).sample
    expected.square().mean().backward()
    packed = Packed(denoiser)
    got = packed(x, t, y)
    got.square().mean().backward()
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4 * float(expected.detach().abs().max()))
    assert packed.flat.grad is not None
    gradients = packed.slices(packed.flat.grad)
    largest = max(float(p.grad.abs().max()) for p in own.parameters())
    for name, parameter in own.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-3, atol=1e-5 * largest)


def test_the_network_is_a_view_of_the_packed_weights(tmp_path: Path) -> None:
    denoiser = random_dit()
    before = {name: p.detach().clone() for name, p in denoiser.named_parameters()}
    packed = Packed(denoiser)
    for name, parameter in denoiser.named_parameters():
        assert torch.equal(parameter, before[name])
        assert torch.equal(packed.slices(packed.flat.data)[name], before[name])
    x, t, y = batch(denoiser)
    with torch.no_grad():
        packed.flat.mul_(0.5)
        torch.testing.assert_close(packed(x, t, y), denoiser(x, timestep=t, class_labels=y).sample)
    denoiser.save_pretrained(tmp_path)
    again = DiTTransformer2DModel.from_pretrained(tmp_path, low_cpu_mem_usage=False)
    for name, parameter in again.named_parameters():
        assert torch.equal(parameter, before[name] / 2)


def test_bfloat16_is_the_same_to_its_rounding() -> None:
    denoiser = random_dit()
    x, t, y = batch(denoiser)
    packed = Packed(denoiser)
    whole, half = packed(x, t, y), packed(x, t, y, torch.bfloat16)
    assert half.dtype == torch.float32
    assert not torch.equal(whole, half)
    assert (half - whole).detach().norm() < 0.01 * whole.detach().norm()


def trained(precision: str, steps: int, checkpoint: Path | None = None, stop: int = 0) -> Training:
    """The state after `steps` steps; with a checkpoint saved after `stop` of them, or begun from one."""
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (20, 1, 8, 8), dtype=torch.uint8, generator=draw)
    images = ImageSet(pixels, torch.arange(20) % 3, ("a", "b", "c"))
    config = replace(SMALL, steps=12, batch_size=6, warmup_steps=3, precision=precision)  # type: ignore[arg-type]
    state = begin(new_denoiser(config, images.shape, 3), config, len(images))
    if checkpoint is not None and not stop:
        load_checkpoint(checkpoint, state)
    for progress in train(state, PixelSource(images), images.labels, noise_schedule(config, 1.0), config):
        if checkpoint is not None and progress.step == stop:
            save_checkpoint(checkpoint, state)
        if progress.step == steps:
            break
    return state


def test_packed_training_learns_what_the_plain_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lgd.diffusion.train.computes_in_bfloat16", lambda device: False)
    plain, packed = trained("float32", 12), trained("auto", 12)
    assert (plain.packed is None, packed.packed is None) == (True, False)
    torch.testing.assert_close(torch.tensor(packed.losses), torch.tensor(plain.losses), rtol=1e-4, atol=1e-5)
    for (name, a), b in zip(plain.denoiser.named_parameters(), packed.denoiser.parameters(), strict=True):
        # Adam divides by a gradient's size, so that where it is rounding alone (the keys' bias) so is the step.
        if "to_k.bias" not in name:
            torch.testing.assert_close(b, a, rtol=1e-2, atol=1e-4, check_stride=False)


def test_packed_training_goes_on_to_the_bit(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    whole = trained("auto", 12, path, stop=5)
    again = trained("auto", 12, path)
    assert again.losses == whole.losses
    assert whole.packed is not None
    assert again.packed is not None
    assert torch.equal(again.packed.flat, whole.packed.flat)
    assert torch.equal(again.average.shadow_params[0], whole.average.shadow_params[0])


def test_what_cannot_be_packed() -> None:
    assert can_pack(random_dit())
    assert not can_pack(for_difffit(random_dit()))
    denoiser = random_dit()
    denoiser.proj_out_2.bias.requires_grad_(False)
    assert not can_pack(denoiser)
