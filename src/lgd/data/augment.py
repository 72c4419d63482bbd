"""Augmentation of whole batches, every draw from a generator that the caller passes.

The crops and the flip are gathers of a few lines here because kornia draws its parameters from torch's global
generator, which nothing in this package may touch. Colours are one line of arithmetic each, and kornia takes seconds
to import in every worker process; the tests hold them against kornia's.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from lgd.errors import UserError

ATTEMPTS = 10  # boxes that `random_resized_crop` draws for each image
GREY = (0.299, 0.587, 0.114)
EIGENVALUES = (0.2175, 0.0188, 0.0045)
EIGENVECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))
"""of the covariance of ImageNet's RGB values (Krizhevsky et al., 2012), vectors as columns"""


def beside(draws: Tensor, images: Tensor) -> Tensor:
    """Move draws to the device of the images; a GPU is not waited for."""
    return draws.to(images.device, non_blocking=True)


def random_crop(images: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Pad (B, C, H, W) with zeros on all sides and cut an independent H x W window out of each."""
    B, _, H, W = images.shape
    top, left = torch.randint(0, 2 * padding + 1, (2, B), generator=generator)
    rows = beside(top[:, None] + torch.arange(H), images)  # (B, H)
    columns = beside(left[:, None] + torch.arange(W), images)  # (B, W)
    padded = F.pad(images, (padding,) * 4)
    index = torch.arange(B, device=images.device)[:, None, None]
    cut = padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    # The layout of the gather would spread through the network, where instance norm is far slower on it.
    return cut.clone(memory_format=torch.contiguous_format)


def random_resized_crop(images: Tensor, least_area: float, generator: torch.Generator) -> Tensor:
    """Cut a box out of each of (B, C, H, W) and resize it back to H x W, bilinear, as torchvision's RandomResizedCrop.

    The box has whole pixels, `least_area` to 1 of the image's area, uniformly, and an aspect ratio of 3/4 to 4/3,
    log-uniformly. One that sticks out is drawn again; after ten it is the whole image, cut to such an aspect ratio.
    """
    B, _, H, W = images.shape
    share, ratio = torch.rand(2, ATTEMPTS, B, generator=generator, dtype=torch.float64)
    area = H * W * (least_area + (1 - least_area) * share)
    aspect = (4 / 3) ** (2 * ratio - 1)  # width over height
    width, height = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()  # (ATTEMPTS, B)
    fits = (width >= 1) & (width <= W) & (height >= 1) & (height <= H)
    first = fits.int().argmax(0, keepdim=True)
    found = fits.any(0)
    width = torch.where(found, width.gather(0, first)[0], round(min(W, H * 4 / 3)))  # (B,)
    height = torch.where(found, height.gather(0, first)[0], round(min(H, W * 4 / 3)))
    x, y = torch.rand(2, B, generator=generator, dtype=torch.float64)
    left = torch.where(found, (x * (W - width + 1)).floor(), ((W - width) / 2).floor())
    top = torch.where(found, (y * (H - height + 1)).floor(), ((H - height) / 2).floor())
    columns = beside(pixel_centres(left, width, W).to(images.dtype), images)
    rows = beside(pixel_centres(top, height, H).to(images.dtype), images)
    grid = torch.stack([columns[:, None].expand(B, H, W), rows[:, :, None].expand(B, H, W)], -1)
    return F.grid_sample(images, grid, align_corners=True)


def pixel_centres(start: Tensor, length: Tensor, size: int) -> Tensor:
    """Where `size` pixels lie that are spread over a box's `length` from `start`, (B, size), for `grid_sample`.

    start, length: whole pixels, (B,). A pixel that lies closer to the box's edge than half a pixel takes the outermost.
    """
    inside = ((torch.arange(size) + 0.5) * length[:, None] / size - 0.5).clamp_min(0)
    return 2 * (start[:, None] + inside.minimum(length[:, None] - 1)) / max(size - 1, 1) - 1


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each of (B, C, H, W) left to right with probability one half."""
    flipped = beside(torch.rand(len(images), generator=generator).lt(0.5), images)
    return torch.where(flipped[:, None, None, None], images.flip(-1), images)


def colour_jitter(images: Tensor, most: float, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast and saturation of each of (B, C, H, W), in an order drawn for the batch.

    Each is a step of alpha, uniform in [-most, most], from the image towards black, its mean grey, or its grey image.
    """
    alphas = beside((2 * torch.rand(3, len(images), generator=generator) - 1).mul(most), images).to(images.dtype)
    for change in torch.randperm(3, generator=generator).tolist():
        towards = torch.zeros_like(images) if change == 0 else grey(images)
        if change == 1:
            towards = towards.mean((1, 2, 3), keepdim=True)
        images = torch.lerp(images, towards.expand_as(images), alphas[change].view(-1, 1, 1, 1))
    return images


def grey(images: Tensor) -> Tensor:
    """Luma (B, 1, H, W) of RGB images; other images' mean over channels."""
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    return (images * beside(torch.tensor(GREY, dtype=images.dtype), images).view(1, 3, 1, 1)).sum(1, keepdim=True)


def lighting(images: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    """Add to each of (B, 3, H, W) one colour: ImageNet's principal colours times normal draws (AlexNet's noise)."""
    draws = deviation * torch.randn(len(images), 3, generator=generator)
    shift = draws * torch.tensor(EIGENVALUES) @ torch.tensor(EIGENVECTORS).T  # (B, 3)
    return images + beside(shift, images).to(images.dtype)[:, :, None, None]


def shuffle_patches(images: Tensor, grid: int, generator: torch.Generator) -> Tensor:
    """Put the `grid` columns of each of (B, C, H, W), and then its `grid` rows, in a random order (RDED, CVPR 2024).

    So a grid of 2 x 2 has four arrangements. Errors: UserError when the sides are no multiples of `grid`.
    """
    B, C, H, W = images.shape
    if H % grid or W % grid:
        raise UserError(f"images of {W} x {H} cannot be cut into {grid} x {grid} equal patches")
    patches = images.view(B, C, grid, H // grid, grid, W // grid)
    rows, columns = beside(torch.rand(2, B, grid, generator=generator).argsort(2), images)
    each = torch.arange(B, device=images.device)[:, None, None]
    shuffled = patches.permute(0, 2, 4, 1, 3, 5)[each, rows[:, :, None], columns[:, None]]  # (B, grid, grid, C, h, w)
    return shuffled.permute(0, 3, 1, 4, 2, 5).reshape(B, C, H, W)


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
    other = beside(torch.randperm(B, generator=generator), images)
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images[other, :, top:bottom, left:right]
    kept = 1 - (bottom - top) * (right - left) / (H * W)
    return mixed, kept * targets + (1 - kept) * targets[other]
