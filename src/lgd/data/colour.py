"""Random colours for whole batches in [0, 1], as the field's training code draws them.

Written out because they are one line of arithmetic each, and kornia takes seconds to import in every worker process;
the tests hold them against kornia's.
"""

import torch
from torch import Tensor

GREY = (0.299, 0.587, 0.114)
EIGENVALUES = (0.2175, 0.0188, 0.0045)
EIGENVECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))
"""of the covariance of ImageNet's RGB values (Krizhevsky et al., 2012), vectors as columns"""


def colour_jitter(images: Tensor, most: float, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast and saturation of each of (B, C, H, W), in an order drawn for the batch.

    Each is a step of alpha, uniform in [-most, most], from the image towards black, its mean grey, or its grey image.
    """
    alphas = (2 * torch.rand(3, len(images), generator=generator) - 1).mul(most).to(images)
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
    return (images * images.new_tensor(GREY).view(1, 3, 1, 1)).sum(1, keepdim=True)


def lighting(images: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    """Add to each of (B, 3, H, W) one colour: ImageNet's principal colours times normal draws (AlexNet's noise)."""
    draws = deviation * torch.randn(len(images), 3, generator=generator)
    shift = draws * torch.tensor(EIGENVALUES) @ torch.tensor(EIGENVECTORS).T  # (B, 3)
    return images + shift.to(images)[:, :, None, None]
