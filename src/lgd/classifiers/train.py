"""Train classifiers on image sets, measure them, keep them on disk."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from lgd.config import ClassifierConfig, TrainingConfig
from lgd.data.augment import (
    colour_jitter,
    cutmix,
    lighting,
    random_crop,
    random_flip,
    random_resized_crop,
    shuffle_patches,
)
from lgd.data.class_names import places
from lgd.data.imageset import ImageSet, to_float
from lgd.errors import NonFiniteError, UserError
from lgd.rng import generator as rng
from lgd.rng import seeded_initialisation
from lgd.storage.files import load_tensors_and_metadata, parse_json, save_tensors

from .architectures import Classifier, channel_statistics, new_classifier, predict
from .schedule import new_optimiser, rate_factor
from .shards import backward

IMAGENET = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
"""mean and standard deviation of RGB"""


def train_classifier(
    train: ImageSet,
    config: ClassifierConfig,
    seed: int,
    device: str | torch.device = "cpu",
    teacher: Classifier | Tensor | None = None,
    watch: Callable[[int, Classifier], object] | None = None,
) -> Classifier:
    """Train a classifier from scratch; returns it in eval mode.

    seed: of the weights, the order and the augmentation. teacher: whose soft labels are
    learned where `temperature` is above 0: a classifier that labels each augmented batch, or logits (N, classes) stored
    per image, mixed as the images are. watch: called after each epoch with the epochs done and the classifier, in
    training mode; training ends when it returns False. Images are augmented in batches. Errors: NonFiniteError naming
    the step.
    """
    training = config.training
    classifier = untrained_classifier(train, config, seed).to(device).train()
    train = train.to(device)
    optimiser = new_optimiser(classifier, training)
    draw = rng(seed, "training")
    step = 0
    for epoch in range(training.epochs):
        for group in optimiser.param_groups:
            group["lr"] = training.learning_rate * rate_factor(epoch, training.epochs, training.schedule)
        order = torch.randperm(len(train), generator=draw).split(training.batch_size)
        losses: list[Tensor] = []
        for chosen, pixels in zip(order, train.stream(order), strict=True):
            targets = first_targets(train, chosen, training, teacher).to(device, non_blocking=True)
            x, y = augment(to_float(pixels.to(device, non_blocking=True)), targets, training, classifier, draw)
            if training.temperature and isinstance(teacher, Classifier):
                with torch.no_grad():
                    y = soft_targets(teacher(x * classifier.std + classifier.mean), training.temperature)

            def loss_of(part: slice, x: Tensor = x, y: Tensor = y) -> Tensor:
                return soft_loss(training_logits(classifier, x[part], training), y[part], training.temperature or 1.0)

            optimiser.zero_grad(set_to_none=True)
            losses.append(backward(loss_of, list(classifier.parameters()), len(x), training.shards))
            optimiser.step()
        check_losses(torch.stack(losses), step)
        step += len(losses)
        if watch is not None and watch(epoch + 1, classifier) is False:
            break
    if not all(torch.isfinite(parameter).all() for parameter in classifier.parameters()):
        raise NonFiniteError(f"weights that are not finite after step {step}")
    return classifier.eval().requires_grad_(False)


def check_losses(losses: Tensor, before: int) -> None:
    """Raise NonFiniteError for the first of an epoch's losses that is not finite. before: number of earlier steps.

    Looked at once per epoch, because a GPU would have to be waited for in every step.
    """
    finite = torch.isfinite(losses)
    if not finite.all():
        first = int(finite.logical_not().int().argmax())
        raise NonFiniteError(f"loss {losses[first].item()} at step {before + first + 1}")


def untrained_classifier(train: ImageSet, config: ClassifierConfig, seed: int) -> Classifier:
    """Return the classifier that `train_classifier` starts from, in training mode, on the CPU."""
    mean, std = statistics_of(train, config)
    with seeded_initialisation(seed, "classifier"):
        return new_classifier(config, train.shape, len(train.class_names), mean, std)


def statistics_of(train: ImageSet, config: ClassifierConfig) -> tuple[Tensor, Tensor]:
    """Return the mean and standard deviation per channel that a classifier of these images normalises by."""
    imagenet = config.training.imagenet_statistics and train.shape[0] == 3
    return IMAGENET if imagenet else channel_statistics(train)


def training_logits(classifier: Classifier, x: Tensor, config: TrainingConfig) -> Tensor:
    """Compute logits (B, classes), in float32, of normalised images, in the configured precision."""
    with torch.autocast(x.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
        return classifier.network(x).float()


def first_targets(
    train: ImageSet, chosen: Tensor, config: TrainingConfig, teacher: Classifier | Tensor | None
) -> Tensor:
    """Return targets (B, classes) before mixing: one-hot, or the softened logits of a teacher."""
    if config.temperature and isinstance(teacher, Tensor):
        return soft_targets(teacher[chosen], config.temperature)
    assert teacher is not None or not config.temperature, "soft labels need a teacher"
    return F.one_hot(train.labels[chosen], len(train.class_names)).float()


def soft_targets(logits: Tensor, temperature: float) -> Tensor:
    return F.softmax(logits / temperature, dim=1)


def soft_loss(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Average over the batch the cross-entropy of softmax(logits / T) under `targets`, without the factor T^2.

    Up to the entropy of the targets, which has no gradient, this is RDED's KL divergence.
    """
    return F.cross_entropy(logits / temperature, targets)


def augment(
    images: Tensor, targets: Tensor, config: TrainingConfig, classifier: Classifier, draw: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Augment, normalise and mix images in [0, 1] and their targets (B, classes).

    Colours come before the normalisation and the padded crop after it, so that the padding is the mean colour, as with
    the field's transforms.
    """
    x, y = images, targets
    if config.patch_shuffle:
        x = shuffle_patches(x, config.patch_shuffle, draw)
    if config.crop_scale:
        x = random_resized_crop(x, config.crop_scale, draw)
    if config.colour_jitter:
        x = colour_jitter(x, config.colour_jitter, draw)
    if config.lighting and x.shape[1] == 3:
        x = lighting(x, config.lighting, draw)
    x = classifier.normalise(x)
    if config.crop_padding:
        x = random_crop(x, config.crop_padding, draw)
    if config.flip:
        x = random_flip(x, draw)
    return cutmix(x, y, draw) if config.cutmix else (x, y)


def accuracy(classifier: Classifier, images: ImageSet) -> float:
    """Measure top-1 accuracy in percent."""
    logits = predict(classifier, images)
    return 100 * (logits.argmax(1) == images.labels).double().mean().item()


def save_classifier(classifier: Classifier, path: Path, config: ClassifierConfig, train: ImageSet) -> None:
    """Write weights and normalisation as safetensors; the metadata says how to rebuild the network."""
    metadata = {"architecture": config.architecture, "class_names": json.dumps(train.class_names)}
    save_tensors(path, classifier.state_dict(), metadata)


def train_and_save(
    path: Path,
    config: ClassifierConfig,
    train: ImageSet,
    seed: int,
    device: str = "cpu",
    advance: Callable[[], object] = lambda: None,
) -> None:
    """Train a classifier and save it. advance: called after every epoch. Errors: as `train_classifier`."""
    save_classifier(train_classifier(train, config, seed, device, watch=lambda *_: advance()), path, config, train)


def columns_of(path: Path, metadata: Mapping[str, str], class_names: Sequence[str]) -> Tensor:
    """Return each class's column in the logits of a file with its own order of classes. Errors: UserError."""
    try:
        names = parse_json(metadata.get("class_names", "null"))
    except ValueError:
        names = []
    if not isinstance(names, list):
        raise UserError(f"{path}: does not name its classes; only classifiers saved by lgd are read here")
    return places(class_names, list(map(str, names)), path)


def load_classifier(
    path: Path,
    config: ClassifierConfig,
    like: ImageSet,
    device: str | torch.device = "cpu",
    class_order: Sequence[str] = (),
) -> Classifier:
    """Read a classifier for images and classes as in `like`, whatever the order of the classes in the file.

    class_order: of the logits of a bare network trained elsewhere, whose weights do not name their classes; nor do they
    tell how it normalises, so it is taken to do as the configuration says. Empty: only classifiers saved by lgd are
    read. Errors: UserError naming the file when it is missing, corrupt, of another network or for other classes.
    """
    tensors, metadata = load_tensors_and_metadata(path)
    if class_order and "class_names" not in metadata:
        mean, std = statistics_of(like, config)
        named = {"mean": mean.view(1, -1, 1, 1), "std": std.view(1, -1, 1, 1)}
        for name, tensor in tensors.items():
            named[name if name in named else f"network.{name.removeprefix('network.')}"] = tensor
        tensors, metadata = named, {"class_names": json.dumps(class_order)}
    columns = columns_of(path, metadata, like.class_names)
    unknown = torch.zeros(like.shape[0]), torch.ones(like.shape[0])
    with seeded_initialisation(0):
        classifier = new_classifier(config, like.shape, len(like.class_names), *unknown)
    try:
        classifier.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[1]
        raise UserError(f"{path}: not the weights of this {config.architecture}: {reason}") from None
    return with_columns(classifier.eval().requires_grad_(False).to(device), columns, like)


def with_columns(classifier: Classifier, columns: Tensor, like: ImageSet) -> Classifier:
    """Reorder the rows of the head, so that logit k is that of its class `columns[k]` before."""
    if torch.equal(columns, torch.arange(len(columns))):
        return classifier
    with torch.no_grad():
        head, _, _ = classifier.inspect(torch.zeros(1, *like.shape, device=classifier.mean.device))
    for parameter in head.parameters():
        parameter.data = parameter.data[columns]
    return classifier
