"""MGD3: sample image j of a class with guidance to the j-th mode of the real images' latents."""

import torch
from torch import Tensor

from lgd.data.augment import random_flip
from lgd.data.imageset import to_float
from lgd.diffusion.types import Denoiser
from lgd.distillation.recipe import Recipe, first_step
from lgd.distillation.resources import Resources
from lgd.distillation.store import SelectedImage
from lgd.errors import UserError
from lgd.guidance.modes import find_modes, mode_guided
from lgd.rng import derive_seed
from lgd.rng import generator as rng
from lgd.storage.files import load_tensors, save_tensors

from .base import Method
from .sampling import sample_slots_in_order, without_selection


def sample_mgd3(resources: Resources) -> list[SelectedImage]:
    """Sample one candidate a slot with mode guidance.

    A class has as many modes as the whole set holds images of it; increment i takes the i-th n of them.
    """
    config = resources.config
    n = config.stages.images_per_increment
    count = config.stages.increments * n
    modes = torch.stack([class_modes(resources, label, count) for label in resources.classes]).to(resources.device)

    def guide(denoiser: Denoiser, labels: Tensor, slots: Tensor) -> Denoiser:
        own = modes[labels - resources.classes.start, (resources.increment - 1) * n + slots]  # (B, C, H, W)
        return mode_guided(denoiser, own, config.modes)

    return sample_slots_in_order(resources, without_selection(config), guide)


def check_modes(recipe: Recipe) -> None:
    """Check that mode guidance has a step. Errors: UserError when `modes.stop` leaves none."""
    first = first_step(recipe)
    if recipe.modes.stop >= first:
        raise UserError(
            f"modes.stop: {recipe.modes.stop} leaves no step to mode guidance; sampling starts at step {first}, so it"
            f" must be below {first}"
        )


def class_modes(resources: Resources, label: int, count: int) -> Tensor:
    """Return the modes of one class, (count, C, H, W), on the CPU; the first increment finds and writes them.

    Errors: UserError naming a corrupt file.
    """
    path = resources.growth.run.modes(label)
    if path.exists():
        return load_tensors(path, ["modes"])["modes"]
    train, encode = resources.splits.train, resources.generator.autoencoder.encode
    seed, name = resources.config.seed, train.class_names[label]
    draw = rng(seed, "modes flip", name)
    latents = []
    for batch in train.subset(train.indices_of(label)).batches(64):
        images = to_float(batch)
        images = random_flip(images, draw) if resources.config.modes.flip else images
        with torch.no_grad():
            latents.append(encode(images.to(resources.device)).cpu())
    modes = find_modes(torch.cat(latents), count, derive_seed(seed, "modes", name))
    save_tensors(path, {"modes": modes})
    return modes


MGD3 = Method(
    sample_mgd3,
    "diffusion guided to the modes of each class",
    section="modes",
    one_real_image_each=True,
    check=check_modes,
)
