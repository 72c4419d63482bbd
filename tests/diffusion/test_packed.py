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
from lgd.diffusion.finetune import for_difffit
from lgd.diffusion.generator import new_denoiser, without_own_dropout
from lgd.diffusion.packed import Packed, can_pack

SMALL = GeneratorConfig(blocks=2, heads=2, head_width=8)


def random_dit(config: GeneratorConfig = SMALL, shape: tuple[int, int, int] = (3, 8, 8)) -> Any:
    """With weights that leave no part at zero."""
    denoiser = new_denoiser(config, shape, 5).train()
    draw = torch.Generator().manual_seed(0)
    for parameter in denoiser.parameters():
        torch.nn.init.normal_(parameter, std=0.2, generator=draw)
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


def test_what_cannot_be_packed() -> None:
    assert can_pack(random_dit())
    assert not can_pack(for_difffit(random_dit()))
    denoiser = random_dit()
    denoiser.proj_out_2.bias.requires_grad_(False)
    assert not can_pack(denoiser)
