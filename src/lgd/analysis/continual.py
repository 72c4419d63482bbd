"""A classifier that goes on learning, epoch by epoch, while somebody watches."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from lgd.classifiers.architectures import Classifier, channel_statistics, new_classifier, predict
from lgd.classifiers.train import augment, new_optimiser, training_logits
from lgd.config import ClassifierConfig
from lgd.data.imageset import ImageSet, to_float
from lgd.errors import NonFiniteError
from lgd.rng import generator, seeded_initialisation


class ContinualLearner:
    """A classifier with its optimiser. The learning rate is constant: what arrives late must be learned as well.

    normalise_by: the images (N, C, H, W) whose channel statistics normalise the input, the same for all sets compared.
    """

    def __init__(self, config: ClassifierConfig, normalise_by: ImageSet, seed: int, what: str, device: str) -> None:
        mean, std = channel_statistics(normalise_by)
        with seeded_initialisation(seed, "classifier"):
            network = new_classifier(config, normalise_by.shape, len(normalise_by.class_names), mean, std)
        self.classifier: Classifier = network.to(device)
        self.training = config.training
        self.optimiser = new_optimiser(self.classifier, config.training)
        self.draw = generator(seed, "training")
        self.what = what

    def learn(self, train: ImageSet, epochs: int, least_steps: int) -> Iterator[int]:
        """Train on `train` for `epochs` epochs and yield after each.

        The batch is the configured one, or smaller where the set is, to make an epoch of `least_steps` steps: with
        one or two, a set of a hundred images would not be learned in 50 epochs.

        Errors: NonFiniteError naming the epoch.
        """
        batch_size = max(1, min(self.training.batch_size, len(train) // least_steps))
        device = self.classifier.mean.device
        train = train.to(device)
        for epoch in range(epochs):
            self.classifier.train()
            order = torch.randperm(len(train), generator=self.draw).split(batch_size)
            for chosen, pixels in zip(order, train.stream(order), strict=True):
                targets = F.one_hot(train.labels[chosen], len(train.class_names)).float().to(device)
                x, y = augment(to_float(pixels.to(device)), targets, self.training, self.classifier, self.draw)
                loss = F.cross_entropy(training_logits(self.classifier, x, self.training), y)
                self.optimiser.zero_grad(set_to_none=True)
                loss.backward()
                self.optimiser.step()
            if not torch.isfinite(loss):
                raise NonFiniteError(f"{self.what}: loss {loss.item()} in epoch {epoch + 1}")
            self.classifier.eval()
            yield epoch

    def logits(self, images: ImageSet) -> Tensor:
        """(N, classes) of the stored, unaugmented images."""
        self.classifier.eval()
        return predict(self.classifier, images)

    def losses(self, images: ImageSet) -> Tensor:
        """Cross-entropy of each image in nats, (N,)."""
        return F.cross_entropy(self.logits(images), images.labels, reduction="none")

    def accuracy(self, images: ImageSet) -> float:
        """Top-1 accuracy in percent."""
        return 100 * (self.logits(images).argmax(1) == images.labels).double().mean().item()
