"""Augmentation of whole batches, every draw from a generator that the caller passes.

The crops and the flip are gathers of a few lines here because kornia draws its parameters from torch's global
generator, which nothing in this package may touch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lgd.errors import UserError


def random_crop(images: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Pad (B, C, H, W) with zeros on all sides and cut an independent H x W window out of each."""
    B, _, H, W = images.shape
    top, left = torch.randint(0, 2 * padding + 1, (2, B), generator=generator)
    rows = (top[:, None] + torch.arange(H)).to(images.device)  # (B, H)
    columns = (left[:, None] + torch.arange(W)).to(images.device)  # (B, W)
    padded = F.pad(images, (padding,) * 4)
    index = torch.arange(B, device=images.device)[:, None, None]
    cut = padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    # The layout of the gather would spread through the network, where instance norm is far slower on it.
    return cut.clone(memory_format=torch.contiguous_format)


def random_resized_crop(images: Tensor, least_area: float, generator: torch.Generator) -> Tensor:
    """Cut a box out of each of (B, C, H, W) and resize it back to H x W, bilinear.

    The box has `least_area` to 1 of the image's area, uniformly, and an aspect ratio of 3/4 to 4/3, log-uniformly, as
    the field's; a box that sticks out is cut to the image, where the field draws again up to ten times.
    """
    B = len(images)
    area, aspect, x, y = torch.rand(4, B, generator=generator)
    area = least_area + (1 - least_area) * area
    aspect = (4 / 3) ** (2 * aspect - 1)  # width over height
    width, height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    transform = torch.zeros(B, 2, 3)  # output to input, both from -1 to 1
    transform[:, 0, 0], transform[:, 1, 1] = width, height
    transform[:, 0, 2], transform[:, 1, 2] = (2 * x - 1) * (1 - width), (2 * y - 1) * (1 - height)
    grid = F.affine_grid(transform.to(images), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each of (B, C, H, W) left to right with probability one half."""
    flipped = torch.rand(len(images), generator=generator).lt(0.5).to(images.device)
    return torch.where(flipped[:, None, None, None], images.flip(-1), images)


def shuffle_patches(images: Tensor, grid: int, generator: torch.Generator) -> Tensor:
    """Cut each of (B, C, H, W) into grid x grid patches and put them together in a random order (RDED, CVPR 2024).

    Errors: UserError when the sides are no multiples of `grid`.
    """
    B, C, H, W = images.shape
    if H % grid or W % grid:
        raise UserError(f"images of {W} x {H} cannot be cut into {grid} x {grid} equal patches")
    h, w = H // grid, W // grid
    patches = images.view(B, C, grid, h, grid, w).permute(0, 2, 4, 1, 3, 5).reshape(B, grid * grid, C, h, w)
    order = torch.rand(B, grid * grid, generator=generator).argsort(1).to(images.device)
    shuffled = patches[torch.arange(B, device=images.device)[:, None], order]
    return shuffled.view(B, grid, grid, C, h, w).permute(0, 3, 1, 4, 2, 5).reshape(B, C, H, W)


def cutmix(images: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """CutMix (Yun et al., ICCV 2019) with Beta(1, 1): one box for the batch, pasted from a permutation of it.

    images (B, C, H, W), targets (B, classes) of probabilities; neither is changed in place. The targets are mixed by
    the area of the box as it was clipped, not by the ratio that was drawn.
    """
    B, _, H, W = images.shape
    ratio, centre_y, centre_x = torch.rand(3, generator=generator).tolist()  # Beta(1, 1) is uniform
    height, width = int(H * (1 - ratio) ** 0.5), int(W * (1 - ratio) ** 0.5)
    y, x = int(centre_y * H), int(centre_x * W)
    top, bottom = max(y - height // 2, 0), min(y + height // 2, H)
    left, right = max(x - width // 2, 0), min(x + width // 2, W)
    other = torch.randperm(B, generator=generator).to(images.device)
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images[other, :, top:bottom, left:right]
    kept = 1 - (bottom - top) * (right - left) / (H * W)
    return mixed, kept * targets + (1 - kept) * targets[other]
