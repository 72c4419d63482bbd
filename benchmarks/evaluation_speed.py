"""Measure one training step of a small network, and alternatives that might be cheaper, in CPU milliseconds.

    OMP_NUM_THREADS=1 python benchmarks/evaluation_speed.py

Reports the least CPU time of several repeats, which other load hardly changes. Results: evaluation-speed.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F

from lgd.classifiers.convnet import convnet

CLASSES, WIDTH = 10, 64


def cost(step: Callable[[], object], repeats: int = 60) -> float:
    """Return the least CPU time of a call, in milliseconds."""
    times = []
    for _ in range(repeats + 2):
        start = time.process_time()
        step()
        times.append(time.process_time() - start)
    return 1000 * min(times[2:])


def optimiser(parameters: list[nn.Parameter], fused: bool = True) -> torch.optim.Optimizer:
    """Make the optimiser of the evaluation."""
    return torch.optim.AdamW(parameters, fused=fused)


def batch(*shape: int) -> tuple[Tensor, Tensor]:
    """Draw random images (*shape, 1, 8, 8) and labels (*shape)."""
    draw = torch.Generator().manual_seed(0)
    return torch.rand(*shape, 1, 8, 8, generator=draw), torch.randint(0, CLASSES, shape, generator=draw)


def alone(size: int, layout: torch.memory_format = torch.contiguous_format, fused: bool = True) -> Callable[[], object]:
    """Return one step of one network. layout: memory format of the batch, which spreads through the network."""
    network = convnet((1, 8, 8), CLASSES, WIDTH, 2)
    update = optimiser(list(network.parameters()), fused)
    x, y = batch(size)
    x = x.clone(memory_format=layout)

    def step() -> None:
        loss = F.cross_entropy(network(x), y)
        update.zero_grad(set_to_none=True)
        loss.backward()
        update.step()

    return step


class Stacked(nn.Module):
    """S ConvNets side by side in the channels of grouped convolutions; (B, S, 8, 8) to (S, B, classes)."""

    def __init__(self, networks: int) -> None:
        super().__init__()
        channels = networks * WIDTH
        self.networks = networks
        self.body = nn.Sequential(
            *(nn.Conv2d(networks, channels, 3, padding=1, groups=networks), nn.GroupNorm(channels, channels)),
            *(nn.ReLU(inplace=True), nn.AvgPool2d(2)),
            *(nn.Conv2d(channels, channels, 3, padding=1, groups=networks), nn.GroupNorm(channels, channels)),
            *(nn.ReLU(inplace=True), nn.AvgPool2d(2)),
        )
        self.weight = nn.Parameter(0.05 * torch.randn(networks, 4 * WIDTH, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).reshape(len(x), self.networks, -1).transpose(0, 1) @ self.weight


def stacked(networks: int, size: int) -> Callable[[], object]:
    """Return one step of several networks stacked in grouped convolutions."""
    module = Stacked(networks)
    update = optimiser(list(module.parameters()))
    x, y = batch(networks, size)
    x = x[:, :, 0].transpose(0, 1).contiguous()

    def step() -> None:
        loss = F.cross_entropy(module(x).flatten(0, 1), y.flatten(), reduction="sum") / size
        update.zero_grad(set_to_none=True)
        loss.backward()
        update.step()

    return step


def mapped(networks: int, size: int) -> Callable[[], object]:
    """Return one step of several networks by torch.func.vmap over stacked parameters."""
    members = [convnet((1, 8, 8), CLASSES, WIDTH, 2) for _ in range(networks)]
    for module in members[0].modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    parameters, _ = stack_module_state(members)
    update = optimiser(list(parameters.values()))
    x, y = batch(networks, size)

    def loss(values: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(members[0], values, (x,)), y)

    def step() -> None:
        total = vmap(loss)(parameters, x, y).sum()
        update.zero_grad(set_to_none=True)
        total.backward()
        update.step()

    return step


def by_moments(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compute instance norm by torch.var_mean."""
    variance, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
    return (x - mean) * (variance + 1e-5).rsqrt() * weight.view(1, -1, 1, 1) + bias.view(1, -1, 1, 1)


def by_layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compute instance norm as a layer norm over the pixels."""
    normed = F.layer_norm(x.flatten(2), (x.shape[2] * x.shape[3],)).view(x.shape)
    return torch.addcmul(bias.view(1, -1, 1, 1), normed, weight.view(1, -1, 1, 1))


NORMS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "group_norm (as in lgd)": lambda x, weight, bias: F.group_norm(x, x.shape[1], weight, bias),
    "instance_norm": lambda x, weight, bias: F.instance_norm(x, weight=weight, bias=bias),
    "layer_norm over the pixels": by_layer_norm,
    "var_mean": by_moments,
}


def norm(function: Callable[[Tensor, Tensor, Tensor], Tensor], size: int) -> Callable[[], object]:
    """Return the forward and backward pass of one instance norm on (64, 64, size, size)."""
    x = torch.randn(64, WIDTH, size, size, requires_grad=True)
    weight, bias = (torch.rand(WIDTH, requires_grad=True) for _ in range(2))
    gradient = torch.randn_like(x)
    return lambda: torch.autograd.grad(function(x, weight, bias), (x, weight, bias), gradient)


def main() -> None:
    torch.set_num_threads(1)
    print("| variant | batch 20 | batch 64 |\n|---|---:|---:|")
    variants: dict[str, Callable[[int], float]] = {
        "alone (as in lgd)": lambda size: cost(alone(size)),
        "alone, channels_last": lambda size: cost(alone(size, torch.channels_last)),
        "alone, optimiser not fused": lambda size: cost(alone(size, fused=False)),
        "5 stacked in grouped convolutions": lambda size: cost(stacked(5, size)) / 5,
        "5 by torch.func.vmap": lambda size: cost(mapped(5, size)) / 5,
    }
    for name, measure in variants.items():
        print(f"| {name} | {measure(20):.2f} | {measure(64):.2f} |", flush=True)
    print("\n| instance norm | 8 x 8 | 4 x 4 |\n|---|---:|---:|")
    for name, function in NORMS.items():
        print(f"| {name} | {cost(norm(function, 8)):.2f} | {cost(norm(function, 4)):.2f} |", flush=True)


if __name__ == "__main__":
    main()
