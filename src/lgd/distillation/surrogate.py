"""Train, save and load the surrogate of influence guidance: checkpoints of a classifier and their class gradients.

ASSETS/surrogate/0.safetensors   0.gradients.safetensors   ...   checkpoints.json, written last
"""

import copy
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from lgd.classifiers.architectures import Classifier
from lgd.classifiers.train import load_classifier, save_classifier, train_classifier, untrained_classifier
from lgd.config import DatasetConfig, SurrogateConfig
from lgd.data.imageset import ImageSet, to_float
from lgd.data.splits import cached_splits
from lgd.errors import UserError
from lgd.guidance.influence import Surrogate, class_gradients
from lgd.rng import derive_seed
from lgd.rng import generator as rng
from lgd.storage.files import load_tensors, read_json, save_tensors, write_json

from .recipe import Assets


def train_surrogate(
    folder: Path, config: SurrogateConfig, train: ImageSet, device: str, advance: Callable[[], None]
) -> None:
    """Train the surrogate on the real set and write its checkpoints and their class gradients (IGD, section 3).

    Where the configuration lists no epochs, the first checkpoint is the untrained network. An epoch is kept when its
    class gradients have a mean cosine, over the classes, below `similarity` to those of the checkpoint kept before.
    Training ends with the last checkpoint; where the epochs yield fewer, influence is the mean over fewer. Errors:
    NonFiniteError.
    """
    labels = list(range(len(train.class_names)))
    wanted = len(set(config.epochs)) or config.checkpoints
    epochs: list[int] = []
    cosines: list[float] = []
    last: Tensor | None = None

    def keep(epoch: int, classifier: Classifier) -> bool:
        nonlocal last
        if config.epochs and epoch not in config.epochs:
            return True
        frozen = copy.deepcopy(classifier).eval().requires_grad_(False)
        images = (real_images(train, label, config).to(device) for label in labels)
        gradients = class_gradients(frozen, images, labels)  # (classes, P)
        cosine = None if last is None else F.cosine_similarity(gradients, last, dim=1).mean().item()
        if config.epochs or cosine is None or cosine < config.similarity:
            index = len(epochs)
            named = {str(label): gradient for label, gradient in zip(labels, gradients, strict=True)}
            save_tensors(folder / f"{index}.gradients.safetensors", named)
            save_classifier(frozen, folder / f"{index}.safetensors", config.classifier, train)
            epochs.append(epoch)
            cosines.extend([] if cosine is None else [cosine])
            last = gradients
        return len(epochs) < wanted

    def watch(epoch: int, classifier: Classifier) -> bool:
        advance()
        return keep(epoch, classifier)

    seed = derive_seed("surrogate", config.classifier.seed)
    if keep(0, untrained_classifier(train, config.classifier, seed).to(device)):
        train_classifier(train, config.classifier, seed, device, watch=watch)
    write_json(folder / "checkpoints.json", {"epochs": epochs, "cosines": cosines})


def surrogate_images(config: SurrogateConfig, dataset: DatasetConfig) -> ImageSet:
    """Return the real images that the surrogate is trained on, at its image size. Errors: as `cached_splits`."""
    size = config.image_size
    return cached_splits(replace(dataset, size=size, skip_broken=True) if size else dataset).train


def make_surrogate(assets: Assets, folder: Path, train: ImageSet, advance: Callable[[], None]) -> None:
    """Train the surrogate of an assets directory into `folder`. Errors: NonFiniteError; as `cached_splits`."""
    own = surrogate_images(assets.surrogate, assets.dataset) if assets.surrogate.image_size else train
    train_surrogate(folder, assets.surrogate, own, assets.device, advance)


def real_images(train: ImageSet, label: int, config: SurrogateConfig) -> Tensor:
    """Return at most `config.images` images of a class, chosen with the surrogate's seed, float (N, C, H, W)."""
    members = train.indices_of(label)
    draw = rng(config.classifier.seed, "surrogate", train.class_names[label])
    return to_float(train.pixels(members[torch.randperm(len(members), generator=draw)[: config.images]]))


def load_surrogate(
    folder: Path, config: SurrogateConfig, train: ImageSet, labels: Iterable[int], device: str
) -> Surrogate:
    """Read all checkpoints, and their gradients of the classes `labels`. Errors: UserError naming the file."""
    count = len(read_json(folder / "checkpoints.json")["epochs"])
    classifiers = [load_classifier(folder / f"{k}.safetensors", config.classifier, train, device) for k in range(count)]
    weights = [dict(classifier.named_parameters()) for classifier in classifiers]
    P = sum(parameter.numel() for parameter in weights[0].values())
    names = [str(label) for label in labels]
    gradients = []
    for path in (folder / f"{k}.gradients.safetensors" for k in range(count)):
        gradients.append(load_tensors(path, names))
        for name, gradient in gradients[-1].items():
            if gradient.shape != (P,):
                raise UserError(f"{path}: not of this surrogate: {name} has shape {list(gradient.shape)}, not [{P}]")
    return Surrogate(
        classifiers[0],
        {name: torch.stack([w[name] for w in weights]) for name in weights[0]},
        {int(name): torch.stack([g[name] for g in gradients]).to(device) for name in names},
    )
