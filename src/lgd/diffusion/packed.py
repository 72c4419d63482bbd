"""A DiT's weights in one tensor, and the DiT's function in few, large operations on it.

Training a small network costs its calls as much as its arithmetic. Here the optimiser, the average and the clipping see
one tensor, one cast makes the half-precision weights, and layers that stand side by side are one product. The network
stays diffusers': its parameters are views of the tensor.
"""

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import diffusers_lazily as diffusers

Watch = Callable[[int, Tensor], object]
Layout = list[tuple[str, list[str], tuple[int, ...]]]
"""name here, names of the network's parameters that follow each other, shape of them together"""


class Packed:
    """The weights of a DiTTransformer2DModel; afterwards the network's own parameters are views of `flat`."""

    def __init__(self, denoiser: Any) -> None:
        parameters = dict(denoiser.named_parameters())
        self.denoiser = denoiser
        self.watch: Watch | None = None  # called with each block's number and tokens (B, N, D)
        self.layout = layout_of(denoiser)
        self.names = [name for _, names, _ in self.layout for name in names]
        assert sorted(self.names) == sorted(parameters)
        self.shapes = [parameters[name].shape for name in self.names]
        self.flat = nn.Parameter(torch.cat([parameters[name].detach().flatten() for name in self.names]))
        for name, view in self.slices(self.flat.data).items():
            parameters[name].data = view
            parameters[name].requires_grad_(False)

    def slices(self, flat: Tensor) -> dict[str, Tensor]:
        """Views of a tensor of the size of `flat`, by the names of the network's parameters."""
        parts = flat.split([prod(shape) for shape in self.shapes])
        return {name: part.view(shape) for name, part, shape in zip(self.names, parts, self.shapes, strict=True)}

    def __call__(self, x_t: Tensor, t: Tensor, class_ids: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Compute the network's output at x_t (B, C, H, W), t (B,), class_ids (B,), to rounding.

        It is differentiable in `flat`. dtype: of tokens; residuals, norms and values per image stay in float32.
        In bfloat16 the tanh form of GELU becomes the exact one, 5e-4 off at most and far faster on the CPU.
        """
        W = self._weights(self.flat)
        H = W if dtype == self.flat.dtype else self._weights(self.flat.to(dtype))
        return fused(self, W, H, x_t, t, class_ids)

    def _weights(self, flat: Tensor) -> dict[str, Tensor]:
        parts = flat.split([prod(shape) for _, _, shape in self.layout])
        return {name: part.view(shape) for (name, _, shape), part in zip(self.layout, parts, strict=True)}


def can_pack(denoiser: Any) -> bool:
    """Whether this is a DiT as diffusers makes it, of which everything learns."""
    return (
        isinstance(denoiser, diffusers.DiTTransformer2DModel)
        and all(parameter.requires_grad for parameter in denoiser.parameters())
        and denoiser.config.attention_bias
        and not denoiser.config.norm_elementwise_affine
        and denoiser.config.dropout == 0
        and denoiser.config.activation_fn in ("gelu", "gelu-approximate")
    )


def layout_of(denoiser: Any) -> Layout:
    L, D, p = len(denoiser.transformer_blocks), denoiser.inner_dim, denoiser.patch_size
    inside = denoiser.config.in_channels * p * p
    rows = denoiser.transformer_blocks[0].norm1.emb.class_embedder.embedding_table.num_embeddings
    blocks = [f"transformer_blocks.{i}." for i in range(L)]

    def everywhere(name: str) -> list[str]:
        return [block + name for block in blocks]

    layout: Layout = [
        ("patch.weight", ["pos_embed.proj.weight"], (D, inside)),
        ("patch.bias", ["pos_embed.proj.bias"], (D,)),
        ("sines.weight", everywhere("norm1.emb.timestep_embedder.linear_1.weight"), (L * D, 256)),
        ("sines.bias", everywhere("norm1.emb.timestep_embedder.linear_1.bias"), (L * D,)),
        ("time.weight", everywhere("norm1.emb.timestep_embedder.linear_2.weight"), (L, D, D)),
        ("time.bias", everywhere("norm1.emb.timestep_embedder.linear_2.bias"), (L, 1, D)),
        ("labels", everywhere("norm1.emb.class_embedder.embedding_table.weight"), (L * rows, D)),
        ("modulation.weight", everywhere("norm1.linear.weight"), (L, 6 * D, D)),
        ("modulation.bias", everywhere("norm1.linear.bias"), (L, 1, 6 * D)),
    ]
    for i, block in enumerate(blocks):
        for kind, width in (("weight", (D,)), ("bias", ())):
            qkv = [f"{block}attn1.to_{part}.{kind}" for part in "qkv"]
            layout += [
                (f"{i}.qkv.{kind}", qkv, (3 * D, *width)),
                (f"{i}.out.{kind}", [f"{block}attn1.to_out.0.{kind}"], (D, *width)),
                (f"{i}.up.{kind}", [f"{block}ff.net.0.proj.{kind}"], (4 * D, *width)),
                (f"{i}.down.{kind}", [f"{block}ff.net.2.{kind}"], (D, 4 * D) if width else (D,)),
            ]
    outside = denoiser.out_channels * p * p
    return [
        *layout,
        ("last.weight", ["proj_out_1.weight"], (2 * D, D)),
        ("last.bias", ["proj_out_1.bias"], (2 * D,)),
        ("pixels.weight", ["proj_out_2.weight"], (outside, D)),
        ("pixels.bias", ["proj_out_2.bias"], (outside,)),
    ]


def fused(
    packed: Packed,
    weights: dict[str, Tensor],
    halves: dict[str, Tensor],
    x_t: Tensor,
    t: Tensor,
    class_ids: Tensor,
) -> Tensor:
    """Compute the DiT's output (B, C, H, W) from weights by the names of `layout_of`, in float32 and again as `halves`.

    Tokens are computed in the precision of `halves`.
    """
    denoiser, W, H = packed.denoiser, weights, halves
    dtype = next(iter(halves.values())).dtype
    B, C, height, width = x_t.shape
    p, L, heads = denoiser.patch_size, len(denoiser.transformer_blocks), denoiser.config.num_attention_heads
    h, w = height // p, width // p
    approximate = denoiser.transformer_blocks[0].ff.net[0].approximate if dtype == torch.float32 else "none"

    patches = x_t.view(B, C, h, p, w, p).permute(0, 2, 4, 1, 3, 5).reshape(B, h * w, C * p * p)
    x = F.linear(patches, W["patch.weight"], W["patch.bias"]) + denoiser.pos_embed.pos_embed  # (B, N, D)

    sines = denoiser.transformer_blocks[0].norm1.emb.time_proj(t)  # (B, 256)
    time = F.silu(F.linear(sines, W["sines.weight"], W["sines.bias"])).view(B, L, -1).transpose(0, 1)  # (L, B, D)
    rows = len(W["labels"]) // L
    labels = F.embedding(class_ids + rows * torch.arange(L, device=t.device)[:, None], W["labels"])  # (L, B, D)
    c = F.silu(torch.baddbmm(W["time.bias"], time, W["time.weight"].transpose(1, 2)) + labels)
    modulation = torch.baddbmm(W["modulation.bias"], c, W["modulation.weight"].transpose(1, 2))  # (L, B, 6D)

    for i, own in enumerate(modulation.unsqueeze(2).unbind(0)):
        shift, scale, gate, shift_m, scale_m, gate_m = own.chunk(6, dim=2)  # (B, 1, D)
        y = attention(modulated(x, shift, scale, 1e-6).to(dtype), H[f"{i}.qkv.weight"], H[f"{i}.qkv.bias"], heads)
        x = torch.addcmul(x, gate, F.linear(y, H[f"{i}.out.weight"], H[f"{i}.out.bias"]).to(x.dtype))
        y = modulated(x, shift_m, scale_m, denoiser.config.norm_eps).to(dtype)
        y = F.gelu(F.linear(y, H[f"{i}.up.weight"], H[f"{i}.up.bias"]), approximate=approximate)
        x = torch.addcmul(x, gate_m, F.linear(y, H[f"{i}.down.weight"], H[f"{i}.down.bias"]).to(x.dtype))
        if packed.watch is not None:
            packed.watch(i, x)

    shift, scale = F.linear(c[0], W["last.weight"], W["last.bias"])[:, None].chunk(2, dim=2)
    y = F.linear(modulated(x, shift, scale, 1e-6), W["pixels.weight"], W["pixels.bias"])
    return y.view(B, h, w, p, p, -1).permute(0, 5, 1, 3, 2, 4).reshape(B, -1, height, width)


def modulated(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    """Layer norm of (B, N, D), scaled and shifted by (B, 1, D)."""
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=eps), 1 + scale)


def attention(x: Tensor, weight: Tensor, bias: Tensor, heads: int) -> Tensor:
    """Self-attention of (B, N, D), before its output layer.

    On the CPU in float32: torch's bfloat16 form is several times slower there backward (benchmarks/profile.md).
    """
    B, N, D = x.shape
    qkv = F.linear(x, weight, bias)
    q, k, v = (qkv if x.is_cuda else qkv.float()).view(B, N, 3, heads, -1).permute(2, 0, 3, 1, 4)  # (B, heads, N, d)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, N, D).to(x.dtype)
