"""The tiny autoencoder for FLUX.2's latents from madebyollin/taesd (MIT): 32 channels at an eighth of the image's size.

diffusers' AutoencoderTiny cannot hold it, because the three blocks at the lowest resolution have a pooled branch. The
modules are numbered as in its published weights, `encoder.safetensors` and `decoder.safetensors`.
"""

import torch
from torch import Tensor, nn

WIDTH = 64
CHANNELS = 32
"""of a latent"""


class Block(nn.Module):
    """The block relu(conv(x) + x); a pooled block first adds a branch of 1 x 1 convolutions to x."""

    def __init__(self, pooled: bool = False) -> None:
        super().__init__()
        self.conv = nn.Sequential(conv(), nn.ReLU(), conv(), nn.ReLU(), conv())
        if pooled:
            wide = 4 * WIDTH
            self.pool = nn.Sequential(
                nn.Conv2d(WIDTH, wide, 1, bias=False),
                nn.GroupNorm(4, wide),
                nn.ReLU(),
                nn.Conv2d(wide, WIDTH, 1, bias=False),
            )
        self.pooled = pooled

    def forward(self, x: Tensor) -> Tensor:
        if self.pooled:
            x = x + self.pool(x)
        return torch.relu(self.conv(x) + x)


class SoftClamp(nn.Module):
    """The clamp 3 tanh(x / 3), which bounds latents beyond the encoder's range."""

    def forward(self, x: Tensor) -> Tensor:
        return 3 * torch.tanh(x / 3)


def conv(inputs: int = WIDTH, outputs: int = WIDTH, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=bias)


class TAEF2(nn.Module):
    """An autoencoder from images in [0, 1], (B, 3, H, W), to latents (B, 32, H/8, W/8) and back."""

    def __init__(self) -> None:
        super().__init__()
        encoder: list[nn.Module] = [conv(3), Block()]
        for pooled in (False, False, True):
            encoder += [conv(stride=2, bias=False), Block(pooled), Block(pooled), Block(pooled)]
        self.encoder = nn.Sequential(*encoder, conv(outputs=CHANNELS))
        decoder: list[nn.Module] = [SoftClamp(), conv(CHANNELS), nn.ReLU()]
        for pooled in (True, False, False):
            decoder += [Block(pooled), Block(pooled), Block(pooled), nn.Upsample(scale_factor=2), conv(bias=False)]
        self.decoder = nn.Sequential(*decoder, Block(), conv(outputs=3))
