"""A classifier that trains epoch by epoch on sets that may grow, and is evaluated in between."""

from collections.abc import Iterator

import torch
from torch.nn import functional as F

from lgd.classifiers.architectures import channel_statistics, new_classifier
from lgd.classifiers.train import augment, new_optimiser, training_logits
from lgd.data.imageset import ImageSet, to_float
from lgd.errors import NonFiniteError
from lgd.rng import derive_seed, generator, seeded_initialisation

from .context import Inputs


class ContinualLearner:
    """A classifier with its optimiser. The learning rate is constant, so that images that arrive late are learned, too.

    The channel statistics of the real images normalise the input, the same for all sets. The name of the measure is a
    part of the seed.
    """

    def __init__(self, inputs: Inputs, measure: str) -> None:
        real, config, seed = inputs.real.train, inputs.context.classifier, derive_seed("analysis", measure, inputs.seed)
        mean, std = channel_statistics(real)
        with seeded_initialisation(seed, "classifier"):
            network = new_classifier(config, real.shape, len(real.class_names), mean, std)
        self.classifier = network.to(inputs.context.assets.device).eval()
        self.training, self.epochs, self.measure = config.training, inputs.context.config.epochs, measure
        self.optimiser = new_optimiser(self.classifier, config.training)
        self.draw = generator(seed, "training")

    def learn(self, train: ImageSet, least_steps: int) -> Iterator[int]:
        """Train on `train` for the configured epochs; yield after each, with `classifier` in eval mode.

        The batch has the configured size, or for a small set a smaller one that makes an epoch of `least_steps` steps:
        with one or two steps, a set of a hundred images would not be learned in 50 epochs.

        Errors: NonFiniteError naming the epoch.
        """
        batch_size = max(1, min(self.training.batch_size, len(train) // least_steps))
        device = self.classifier.mean.device
        train = train.to(device)
        for epoch in range(self.epochs):
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
                raise NonFiniteError(f"{self.measure}: loss {loss.item()} in epoch {epoch + 1}")
            self.classifier.eval()
            yield epoch
