"""No tensor stays behind on the CPU: the work of a run on torch's device `meta`, which has shapes and no data."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from diffusers import AutoencoderTiny
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lgd.config import Config, with_values
from lgd.diffusion.autoencoder_networks import in_precision, network_decode
from lgd.profiling.measure import Alive
from lgd.profiling.sizes import Sizes
from lgd.profiling.workloads import Workload, Workloads

aten = torch.ops.aten
TRANSFERS = {aten._to_copy.default, aten.copy_.default}
"""operations that may see two devices"""


class OneDevice(TorchDispatchMode):
    """Refuses an operation on tensors of two devices, as a GPU does; single numbers may come from the CPU."""

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        leaves = tree_leaves((arguments, named or {}))
        devices = {leaf.device.type for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.dim()}
        if len(devices) > 1 and function not in TRANSFERS:
            raise RuntimeError(f"{function} on {sorted(devices)}")
        if function is aten._to_copy.default and devices == {"meta"} and str((named or {}).get("device")) == "cpu":
            return torch.zeros(arguments[0].shape, dtype=arguments[0].dtype)  # there is no data to bring back
        return function(*arguments, **(named or {}))


WORK: dict[str, Callable[[Workloads], Workload]] = {
    "unguided": lambda w: w.sampling_step(2, None),
    "score": lambda w: w.sampling_step(2, "score"),
    "influence": lambda w: w.sampling_step(2, "influence"),
    "decoding": lambda w: w.decoding_batch(2),
    "generator": lambda w: w.generator_training_step(),
    "classifier": lambda w: w.classifier_training_step(w.config.learner, 8),
    "test": lambda w: w.classified_batch(w.config.evaluation.classifier),
}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", WORK)
def test_everything_moves_to_the_device(name: str, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And autocast is asked for that device, and enabled as configured."""
    asked: list[tuple[str, bool]] = []

    def autocast(device: str, dtype: torch.dtype, enabled: bool) -> nullcontext[None]:
        asked.append((device, enabled))
        return nullcontext()

    monkeypatch.setattr(torch, "autocast", autocast)
    values = {"generator.blocks": 1, "generator.precision": precision, "learner.training.precision": precision}
    workloads = Workloads(with_values(Config(), values), Sizes(10, 100, 10, (3, 16, 16), loaded=False), "meta")
    function, networks = WORK[name](workloads).build()
    with Alive(), OneDevice():
        function()
    assert {parameter.device.type for network in networks for parameter in network.parameters()} <= {"meta"}
    assert set(asked) == ({("meta", precision == "bfloat16")} if name in ("generator", "classifier") else set())


def test_a_tensor_left_behind_is_noticed() -> None:
    with OneDevice(), pytest.raises(RuntimeError, match=r"add.* on \['cpu', 'meta'\]"):
        torch.zeros(2, device="meta") + torch.zeros(2)


def test_autoencoders_compute_in_channels_last() -> None:
    """Weights and input have that layout, which changes the result by rounding alone."""
    torch.manual_seed(0)
    network: Any = AutoencoderTiny(
        encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8), num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    ).eval()  # fmt: skip
    z = torch.randn(2, 4, 4, 4)
    with torch.no_grad():
        expected = network.decode(z).sample
        moved = in_precision(network, "float32")
        seen: list[torch.Tensor] = []
        hook = lambda module, inputs: seen.append(inputs[0])  # noqa: E731
        convolution = next(module for module in moved.decoder.modules() if isinstance(module, torch.nn.Conv2d))
        convolution.register_forward_pre_hook(hook)
        got = network_decode(moved, z)
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(got, (expected + 1) / 2, rtol=1e-4, atol=1e-4)
