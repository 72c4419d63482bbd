"""DiT by its formulas (Peebles and Xie, 2023), in float64, on weights under the names of DiT's own code.

Written without diffusers' classes and without our own: imported weights must draw what these functions draw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import cos, log, pi, sin, sqrt

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]


def random_weights(
    depth: int = 2, width: int = 16, side: int = 4, classes: int = 1000, outputs: int = 8, inputs: int = 4
) -> dict[str, Tensor]:
    """Weights under which no part of the network is idle; patch 2, latents of inputs x side x side."""
    draw = torch.Generator().manual_seed(depth + width)
    sizes = {
        "x_embedder.proj": (width, inputs, 2, 2),
        "t_embedder.mlp.0": (width, 256),
        "t_embedder.mlp.2": (width, width),
        "final_layer.adaLN_modulation.1": (2 * width, width),
        "final_layer.linear": (4 * outputs, width),
    }
    for i in range(depth):
        sizes |= {
            f"blocks.{i}.adaLN_modulation.1": (6 * width, width),
            f"blocks.{i}.attn.qkv": (3 * width, width),
            f"blocks.{i}.attn.proj": (width, width),
            f"blocks.{i}.mlp.fc1": (4 * width, width),
            f"blocks.{i}.mlp.fc2": (width, 4 * width),
        }
    weights = {"pos_embed": positions(side // 2, width).float()[None]}
    weights["y_embedder.embedding_table.weight"] = torch.randn(classes + 1, width, generator=draw)
    for name, shape in sizes.items():
        fan_in = shape[1] * (4 if len(shape) == 4 else 1)
        weights[f"{name}.weight"] = torch.randn(shape, generator=draw) / sqrt(fan_in)
        weights[f"{name}.bias"] = 0.2 * torch.randn(shape[0], generator=draw)
    return weights


def tuned(weights: Weights) -> dict[str, Tensor]:
    """The same with the factors that Minimax Diffusion's tuning learns, in the first block."""
    draw = torch.Generator().manual_seed(0)
    width = len(weights["x_embedder.proj.bias"])
    sizes = {"attn.gamma1": 3 * width, "attn.gamma2": width, "gamma1": width, "gamma2": width}
    return {**weights, **{f"blocks.0.{name}": 1 + torch.rand(size, generator=draw) for name, size in sizes.items()}}


def positions(side: int, width: int) -> Tensor:
    """Fixed position embedding of side x side patches, (side^2, width): sines and cosines of column, then of row."""
    quarter = width // 4

    def of(place: int) -> list[float]:
        angles = [place / 10000 ** (k / quarter) for k in range(quarter)]
        return [sin(angle) for angle in angles] + [cos(angle) for angle in angles]

    return torch.tensor([of(column) + of(row) for row in range(side) for column in range(side)], dtype=torch.float64)


def sines(t: Tensor) -> Tensor:
    """Cosines, then sines, of t exp(-ln(10000) i / 128), i = 0..127, of timesteps (B,); (B, 256)."""
    frequencies = torch.tensor([10000 ** (-i / 128) for i in range(128)], dtype=torch.float64)
    angles = t.double()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def conditioning(weights: Weights, t: Tensor, class_ids: Tensor) -> Tensor:
    """The sum of embedded timestep and class, (B, D)."""
    hidden = silu(linear(weights, "t_embedder.mlp.0", sines(t)))
    return (
        linear(weights, "t_embedder.mlp.2", hidden) + weights["y_embedder.embedding_table.weight"].double()[class_ids]
    )


def modulation(weights: Weights, block: str, c: Tensor) -> tuple[Tensor, ...]:
    """Shift, scale and gate of attention and of MLP, each (B, 1, D), by adaLN-Zero."""
    return linear(weights, f"{block}.adaLN_modulation.1", silu(c))[:, None].split(c.shape[1], dim=2)


def forward(weights: Weights, heads: int, x_t: Tensor, t: Tensor, class_ids: Tensor) -> Tensor:
    """The network's output on x_t (B, C, H, W): predicted noise and, behind it, the variance's share."""
    p, D = 2, weights["x_embedder.proj.weight"].shape[0]
    B, C, H, W = x_t.shape
    patches = x_t.double().reshape(B, C, H // p, p, W // p, p).permute(0, 2, 4, 1, 3, 5).reshape(B, -1, C * p * p)
    kernel = weights["x_embedder.proj.weight"].double().reshape(D, -1)
    x = patches @ kernel.T + weights["x_embedder.proj.bias"].double() + positions(H // p, D)
    c = conditioning(weights, t, class_ids)
    depth = sum(name.endswith("attn.qkv.weight") for name in weights)
    for i in range(depth):
        block = f"blocks.{i}"
        shift, scale, gate, shift_m, scale_m, gate_m = modulation(weights, block, c)
        x = x + factor(weights, block, "gamma1") * gate * attention(
            weights, block, heads, normed(x) * (1 + scale) + shift
        )
        hidden = gelu(linear(weights, f"{block}.mlp.fc1", normed(x) * (1 + scale_m) + shift_m))
        x = x + factor(weights, block, "gamma2") * gate_m * linear(weights, f"{block}.mlp.fc2", hidden)
    shift, scale = linear(weights, "final_layer.adaLN_modulation.1", silu(c))[:, None].split(D, dim=2)
    y = linear(weights, "final_layer.linear", normed(x) * (1 + scale) + shift)  # (B, N, p p C')
    outputs = y.shape[2] // (p * p)
    return y.reshape(B, H // p, W // p, p, p, outputs).permute(0, 5, 1, 3, 2, 4).reshape(B, outputs, H, W)


def factor(weights: Weights, block: str, name: str) -> Tensor | float:
    """Of a tuned network: learned, else one."""
    own = weights.get(f"{block}.{name}")
    return 1.0 if own is None else own.double()


def linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    return x @ weights[f"{name}.weight"].double().T + weights[f"{name}.bias"].double()


def silu(x: Tensor) -> Tensor:
    return x / (1 + (-x).exp())


def gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + (sqrt(2 / pi) * (x + 0.044715 * x**3)).tanh())


def normed(x: Tensor) -> Tensor:
    """Layer norm without weights."""
    centred = x - x.mean(2, keepdim=True)
    return centred / (centred.square().mean(2, keepdim=True) + 1e-6).sqrt()


def attention(weights: Weights, block: str, heads: int, x: Tensor) -> Tensor:
    B, N, D = x.shape
    qkv = factor(weights, block, "attn.gamma1") * linear(weights, f"{block}.attn.qkv", x)
    q, k, v = qkv.reshape(B, N, 3, heads, D // heads).permute(2, 0, 3, 1, 4)
    shares = (q @ k.transpose(2, 3) / sqrt(D // heads)).softmax(dim=3)
    heard = (shares @ v).transpose(1, 2).reshape(B, N, D)
    return factor(weights, block, "attn.gamma2") * linear(weights, f"{block}.attn.proj", heard)


def guided(weights: Weights, heads: int, x_t: Tensor, t: Tensor, class_ids: Tensor, scale: float) -> Tensor:
    """Output with classifier-free guidance on the first three channels, as DiT's own code samples."""
    null = torch.full_like(class_ids, len(weights["y_embedder.embedding_table.weight"]) - 1)
    own, free = (forward(weights, heads, x_t, t, ids) for ids in (class_ids, null))
    return torch.cat([free[:, :3] + scale * (own[:, :3] - free[:, :3]), own[:, 3:]], dim=1)


def ddpm(weights: Weights, heads: int, noises: Sequence[Tensor], class_ids: Tensor, scale: float) -> Tensor:
    """Samples of the respaced chain with learned variance (Nichol and Dhariwal, 2021).

    noises: the start and one draw for every later step, so that there are as many steps as noises.
    """
    steps = len(noises)
    used = [round(999 * i / (steps - 1)) for i in range(steps)]
    alpha_bar, products = 1.0, []
    for i in range(1000):
        alpha_bar *= 1 - (1e-4 + (0.02 - 1e-4) * i / 999)
        products.append(alpha_bar)
    x = noises[0].double()
    for i in reversed(range(steps)):
        abar, previous = products[used[i]], products[used[i - 1]] if i else 1.0
        beta = 1 - abar / previous
        output = guided(weights, heads, x, torch.full((len(x),), used[i]), class_ids, scale)
        eps, v = output.chunk(2, dim=1)
        x0 = (x - sqrt(1 - abar) * eps) / sqrt(abar)
        mean = (sqrt(previous) * beta * x0 + sqrt(1 - beta) * (1 - previous) * x) / (1 - abar)
        if i:
            posterior = beta * (1 - previous) / (1 - abar)
            share = (v + 1) / 2
            deviation = (0.5 * (share * log(beta) + (1 - share) * log(posterior))).exp()
            mean = mean + deviation * noises[steps - i].double()
        x = mean
    return x
