"""Augmentations against plain per-image versions, hand values and kornia."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lgd.data.augment import cutmix, random_crop, random_flip, random_resized_crop, shuffle_patches
from lgd.data.colour import EIGENVALUES, EIGENVECTORS, colour_jitter, grey, lighting
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


def test_resized_crop_against_a_plain_cut() -> None:
    """A linear ramp cut and resized is a ramp again: its ends give the box, which has the drawn area and aspect."""
    size, count, least = 64, 200, 0.5
    ramp = (torch.arange(size) + 0.5) / size
    images = torch.stack([ramp.expand(size, size), ramp[:, None].expand(size, size)]).expand(count, 2, size, size)
    cut = random_resized_crop(images, least, seeded())
    width = (cut[:, 0, size // 2, 33] - cut[:, 0, size // 2, 32]) * size
    height = (cut[:, 1, 33, size // 2] - cut[:, 1, 32, size // 2]) * size
    area, aspect = width * height, width / height
    assert (area > least * 0.74).all()  # a box that sticks out loses area: 0.5 * 4/3 fits, sqrt(4/3) may not
    assert (width <= 1 + 1e-4).all()
    assert (height <= 1 + 1e-4).all()
    assert (aspect > 3 / 4 - 1e-3).all()
    assert (aspect < 4 / 3 + 1e-3).all()
    drawn, shape, x, _ = torch.rand(4, count, generator=seeded())
    wanted = ((least + (1 - least) * drawn) * (4 / 3) ** (2 * shape - 1)).sqrt().clamp(max=1)
    torch.testing.assert_close(width, wanted, rtol=1e-3, atol=1e-3)
    centre = (cut[:, 0, size // 2, 31] + cut[:, 0, size // 2, 32]) / 2
    torch.testing.assert_close(centre, wanted / 2 + x * (1 - wanted), rtol=1e-3, atol=1e-3)


def test_resized_crop_invents_no_values() -> None:
    images = pictures()
    cut = random_resized_crop(images, 0.5, seeded())
    assert cut.shape == images.shape
    assert cut.amax() <= images.amax() + 1e-6
    assert cut.amin() >= images.amin() - 1e-6


def test_patches_are_the_same_in_another_place() -> None:
    images = pictures(8)
    shuffled = shuffle_patches(images, 2, seeded())
    order = torch.rand(8, 4, generator=seeded()).argsort(1)
    corners = [(0, 0), (0, 4), (4, 0), (4, 4)]
    for i in range(8):
        for place, (y, x) in enumerate(corners):
            top, left = corners[order[i, place]]
            assert torch.equal(shuffled[i, :, y : y + 4, x : x + 4], images[i, :, top : top + 4, left : left + 4])
    assert len({tuple(row) for row in order.tolist()}) > 1
    with pytest.raises(UserError, match="images of 8 x 8 cannot be cut into 3 x 3"):
        shuffle_patches(images, 3, seeded())


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
