"""Augmentations against plain per-image versions, hand values and kornia."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lgd.data.augment import (
    EIGENVALUES,
    EIGENVECTORS,
    colour_jitter,
    cutmix,
    grey,
    lighting,
    random_crop,
    random_flip,
    random_resized_crop,
    shuffle_patches,
)
from lgd.errors import UserError


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 4, channels: int = 3, size: int = 8) -> Tensor:
    return torch.rand(count, channels, size, size, generator=seeded(9))


def test_cutmix_pastes_one_box_and_mixes_by_its_clipped_area() -> None:
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 1, 8, 8).clone()
    targets = torch.eye(4)
    for seed in range(20):
        ratio, centre_y, centre_x = torch.rand(3, generator=(draw := seeded(seed))).tolist()
        other = torch.randperm(4, generator=draw)
        side = int(8 * (1 - ratio) ** 0.5)
        rows = range(max(0, int(centre_y * 8) - side // 2), min(8, int(centre_y * 8) + side // 2))
        columns = range(max(0, int(centre_x * 8) - side // 2), min(8, int(centre_x * 8) + side // 2))
        kept = 1 - len(rows) * len(columns) / 64
        mixed, soft = cutmix(images, targets, seeded(seed))
        for i in range(4):
            for y in range(8):
                for x in range(8):
                    source = other[i] if y in rows and x in columns else i
                    assert mixed[i, 0, y, x] == source
            torch.testing.assert_close(soft[i], kept * targets[i] + (1 - kept) * targets[other[i]])
    assert torch.equal(images[:, 0, 0, 0], torch.arange(4.0))


def test_crop_is_a_window_of_the_padded_image_in_plain_layout() -> None:
    images = pictures(16)
    cut = random_crop(images, 2, seeded())
    assert cut.is_contiguous()
    top, left = torch.randint(0, 5, (2, 16), generator=seeded())
    padded = F.pad(images, (2, 2, 2, 2))
    for i in range(16):
        assert torch.equal(cut[i], padded[i, :, top[i] : top[i] + 8, left[i] : left[i] + 8])


def test_flip_is_a_mirror_or_nothing() -> None:
    images = pictures(64)
    flipped = random_flip(images, seeded())
    mirrored = [torch.equal(a, b.flip(-1)) for a, b in zip(flipped, images, strict=True)]
    same = [torch.equal(a, b) for a, b in zip(flipped, images, strict=True)]
    assert all(m != s for m, s in zip(mirrored, same, strict=True))
    assert 15 < sum(mirrored) < 49


def resized_crop_of_one(image: Tensor, least: float, draws: Tensor, place: tuple[float, float]) -> Tensor:
    """torchvision's RandomResizedCrop in plain Python, from the uniform draws (2, 10) of area and aspect ratio."""
    _, H, W = image.shape
    for share, ratio in draws.T.tolist():
        area = H * W * (least + (1 - least) * share)
        aspect = math.exp(math.log(3 / 4) + ratio * (math.log(4 / 3) - math.log(3 / 4)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= W and 0 < h <= H:
            left, top = int(place[0] * (W - w + 1)), int(place[1] * (H - h + 1))
            break
    else:
        w, h = (W, round(W * 4 / 3)) if W / H < 3 / 4 else (round(H * 4 / 3), H) if W / H > 4 / 3 else (W, H)
        left, top = (W - w) // 2, (H - h) // 2
    cut = image[None, :, top : top + h, left : left + w]
    return F.interpolate(cut, (H, W), mode="bilinear", align_corners=False)[0]


@pytest.mark.parametrize(("shape", "least"), [((8, 8), 0.5), ((32, 32), 0.5), ((32, 32), 0.08), ((8, 32), 0.99)])
def test_resized_crop_against_one_image_at_a_time(shape: tuple[int, int], least: float) -> None:
    """The last case hardly ever finds a box and takes the middle of the image."""
    count = 64
    images = torch.rand(count, 3, *shape, generator=seeded(5))
    draw = seeded()
    draws = torch.rand(2, 10, count, generator=draw, dtype=torch.float64)
    x, y = torch.rand(2, count, generator=draw, dtype=torch.float64).tolist()
    plain = [resized_crop_of_one(images[i], least, draws[:, :, i], (x[i], y[i])) for i in range(count)]
    torch.testing.assert_close(random_resized_crop(images, least, seeded()), torch.stack(plain), rtol=0, atol=2e-5)


def test_resized_crops_have_the_areas_of_torchvisions() -> None:
    """Of torchvision's boxes at 224 pixels and a least area of 0.5, the mean area is 0.693; 2 % keep a full side.

    A linear ramp cut and resized is a ramp again: its slope gives the side of the box.
    """
    size, sides = 224, torch.empty(2, 4_000)
    ramp = torch.arange(size).float()
    images = torch.stack([ramp.expand(size, size), ramp[:, None].expand(size, size)])[None].expand(50, -1, -1, -1)
    draw = seeded()
    for part in sides.split(50, dim=1):
        cut = random_resized_crop(images, 0.5, draw)
        part[0] = (cut[:, 0, 112, 162] - cut[:, 0, 112, 62]) * size / 100
        part[1] = (cut[:, 1, 162, 112] - cut[:, 1, 62, 112]) * size / 100
    assert (sides / size).prod(0).mean() == pytest.approx(0.693, abs=0.004)
    assert (sides.amax(0) > size - 0.5).float().mean() == pytest.approx(0.021, abs=0.005)
    torch.testing.assert_close(sides, sides.round(), rtol=0, atol=0.02)


def test_resized_crop_invents_no_values() -> None:
    images = pictures()
    cut = random_resized_crop(images, 0.5, seeded())
    assert cut.shape == images.shape
    assert cut.amax() <= images.amax() + 1e-6
    assert cut.amin() >= images.amin() - 1e-6


def test_patches_have_four_arrangements() -> None:
    """Columns are swapped or not, and rows are: the diagonal neighbour stays the diagonal neighbour."""
    images = pictures(400)
    a, b, c, d = images[..., :4, :4], images[..., :4, 4:], images[..., 4:, :4], images[..., 4:, 4:]
    shuffled = shuffle_patches(images, 2, seeded())
    four = [((a, b), (c, d)), ((b, a), (d, c)), ((c, d), (a, b)), ((d, c), (b, a))]
    wanted = [torch.cat([torch.cat(row, -1) for row in rows], -2) for rows in four]
    counts = [sum(torch.equal(x, y) for x, y in zip(shuffled, one, strict=True)) for one in wanted]
    assert sum(counts) == 400
    assert min(counts) > 70


def test_larger_grids_permute_whole_columns_and_rows() -> None:
    images = torch.arange(81.0).view(1, 1, 9, 9).expand(50, 1, 9, 9)
    shuffled = shuffle_patches(images, 3, seeded())
    for image in shuffled[:, 0]:
        columns, rows = image[0] % 9, image[:, 0] // 9
        assert torch.equal(image, rows[:, None] * 9 + columns[None])
    assert len({tuple((image[0, 0] % 9).tolist()) for image in shuffled}) == 6
    with pytest.raises(UserError, match="images of 8 x 8 cannot be cut into 3 x 3"):
        shuffle_patches(pictures(), 3, seeded())


@pytest.mark.parametrize("seed", range(6))
def test_colours_one_image_at_a_time(seed: int) -> None:
    images, most = pictures(), 0.4
    draw = seeded(seed)
    alphas = (2 * torch.rand(3, 4, generator=draw) - 1) * most
    order = torch.randperm(3, generator=draw).tolist()
    for image, alpha, got in zip(images, alphas.T, colour_jitter(images, most, seeded(seed)), strict=True):
        plain = image
        for change in order:
            luma = 0.299 * plain[0] + 0.587 * plain[1] + 0.114 * plain[2]
            goal = [torch.zeros(8, 8), luma.mean().expand(8, 8), luma][change]
            plain = (1 - alpha[change]) * plain + alpha[change] * goal
        torch.testing.assert_close(got, plain)


def test_colours_equal_kornias() -> None:
    kornia = pytest.importorskip("kornia.enhance")
    images = pictures()
    factor = 0.7
    saturated = torch.lerp(images, grey(images).expand_as(images), 1 - factor)
    torch.testing.assert_close(saturated, kornia.adjust_saturation_with_gray_subtraction(images, factor))
    contrasted = torch.lerp(images, grey(images).mean((1, 2, 3), keepdim=True).expand_as(images), 1 - factor)
    torch.testing.assert_close(
        contrasted, kornia.adjust_contrast_with_mean_subtraction(images, factor), atol=2e-3, rtol=0
    )


def test_colours_of_grey_images() -> None:
    images = pictures(channels=1)
    assert torch.equal(grey(images), images)
    assert colour_jitter(images, 0.4, seeded()).shape == images.shape


def test_lighting_adds_one_colour_from_the_table() -> None:
    images = pictures(2)
    draws = 0.1 * torch.randn(2, 3, generator=seeded())
    lit = lighting(images, 0.1, seeded())
    for i in range(2):
        for channel in range(3):
            shift = sum(EIGENVECTORS[channel][k] * draws[i, k] * EIGENVALUES[k] for k in range(3))
            torch.testing.assert_close(lit[i, channel] - images[i, channel], shift.expand(8, 8), rtol=1e-4, atol=1e-6)
