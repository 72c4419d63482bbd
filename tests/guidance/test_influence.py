from __future__ import annotations

import copy

import pytest
import torch
from tests.denoisers import of_noise
from torch import Tensor, nn
from torch.nn import functional as F

from lgd.classifiers.architectures import Classifier, new_classifier
from lgd.config import ClassifierConfig
from lgd.diffusion.types import Prediction, Step
from lgd.guidance.influence import Surrogate, class_gradients, gradients, influence, joint_influence
from lgd.guidance.learnability import score_gradient
from lgd.rng import seeded_initialisation


def two_layers(seed: int) -> Classifier:
    """Smooth, so that finite differences converge; double precision."""
    with seeded_initialisation(seed):
        network = nn.Sequential(nn.Flatten(), nn.Linear(9, 6), nn.Tanh(), nn.Linear(6, 3))
    return Classifier(network, torch.tensor([0.4]), torch.tensor([0.3])).double().eval().requires_grad_(False)


def naive_gradient(classifier: Classifier, images: Tensor, labels: Tensor) -> Tensor:
    """Of the mean loss, by an ordinary backward pass, (P,)."""
    classifier = copy.deepcopy(classifier).requires_grad_(True)
    loss = F.cross_entropy(classifier(images), labels)
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(classifier.parameters()))])


def some_images(n: int, seed: int, side: int = 3) -> Tensor:
    return torch.rand(n, 1, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def surrogate_of(classifiers: list[Classifier]) -> Surrogate:
    named = [dict(c.named_parameters()) for c in classifiers]
    parameters = {name: torch.stack([n[name] for n in named]) for name in named[0]}
    images = [some_images(5, 10 + label) for label in range(3)]
    of_classes = torch.stack([class_gradients(c, images, [0, 1, 2]) for c in classifiers])  # (K, 3, P)
    return Surrogate(classifiers[0], parameters, {label: of_classes[:, label] for label in range(3)})


@pytest.mark.parametrize("groups", [1, 2, 10])
@pytest.mark.parametrize("chunk", [3, 50])
def test_class_gradients_are_the_naive_loops(groups: int, chunk: int) -> None:
    classifier = two_layers(0)
    images = [some_images(n, n) for n in (4, 7, 2)]
    found = class_gradients(classifier, images, [0, 1, 2], groups, chunk)
    for label, x in enumerate(images):
        torch.testing.assert_close(found[label], naive_gradient(classifier, x, torch.full((len(x),), label)))


def test_a_convnets_gradients_are_the_naive_loops() -> None:
    with seeded_initialisation(0):
        classifier = new_classifier(ClassifierConfig(width=8), (1, 8, 8), 3, torch.tensor([0.4]), torch.tensor([0.3]))
    classifier = classifier.double().eval().requires_grad_(False)
    x, y = some_images(4, 0, side=8), torch.tensor([2, 0, 1, 1])
    found = gradients(
        classifier, dict(classifier.named_parameters()), x[:, None], y[:, None], torch.ones(4, 1).double()
    )
    for b in range(4):
        torch.testing.assert_close(found[b], naive_gradient(classifier, x[b : b + 1], y[b : b + 1]))


def test_influence_is_the_mean_cosine() -> None:
    classifiers = [two_layers(seed) for seed in (0, 1)]
    surrogate = surrogate_of(classifiers)
    x, y = some_images(4, 0), torch.tensor([2, 0, 1, 1])
    found = influence(x, y, surrogate)
    for b, label in enumerate(y.tolist()):
        cosines = []
        for k, classifier in enumerate(classifiers):
            own = naive_gradient(classifier, x[b : b + 1], y[b : b + 1])
            cosines.append(F.cosine_similarity(own, surrogate.class_gradients[label][k], dim=0))
        torch.testing.assert_close(found[b], torch.stack(cosines).mean())


def test_joint_influence_is_that_of_the_mean_loss() -> None:
    """As IGD's code has it of the two halves of its batch: one gradient of their mean loss, not a mean of cosines."""
    classifiers = [two_layers(seed) for seed in (0, 1)]
    surrogate = surrogate_of(classifiers)
    x, y = some_images(6, 0).view(3, 2, 1, 3, 3), torch.tensor([2, 0, 1])
    found = joint_influence(x, y, surrogate)
    for b, label in enumerate(y.tolist()):
        cosines = []
        for k, classifier in enumerate(classifiers):
            own = naive_gradient(classifier, x[b], torch.tensor([label, label]))
            cosines.append(F.cosine_similarity(own, surrogate.class_gradients[label][k], dim=0))
        torch.testing.assert_close(found[b], torch.stack(cosines).mean())


@pytest.mark.parametrize("route", ["x0", "denoiser"])
def test_its_gradient_is_the_finite_difference(route: str) -> None:
    surrogate = surrogate_of([two_layers(seed) for seed in (0, 1)])
    y, step, h = torch.tensor([2, 0, 1]), Step(30, 612, 0.4), 1e-5
    x_t = some_images(3, 5)

    def denoiser(x: Tensor, step: Step) -> Prediction:
        return of_noise(torch.sin(2 * x), x, step)

    def score(x0: Tensor) -> Tensor:
        return influence((x0 + 1) / 2, y, surrogate)

    _, g = score_gradient(denoiser, score, x_t, step, route)

    def value(x: Tensor) -> Tensor:
        eps = denoiser(x_t if route == "x0" else x, step).eps
        return score((x - 0.6**0.5 * eps) / 0.4**0.5)

    for i in range(9):
        e = torch.zeros(9, dtype=torch.double)
        e[i] = h
        e = e.view(1, 1, 3, 3)
        difference = (value(x_t + e) - value(x_t - e)) / (2 * h)  # (3,): samples do not touch each other
        torch.testing.assert_close(g.flatten(1)[:, i], difference, atol=1e-7, rtol=1e-5)


def test_an_image_of_the_class_mean_has_cosine_one() -> None:
    classifier = two_layers(0)
    x = some_images(1, 0)
    own = class_gradients(classifier, [x], [1])
    parameters = {name: p[None] for name, p in classifier.named_parameters()}
    found = influence(x, torch.tensor([1]), Surrogate(classifier, parameters, {1: own}))
    assert found.item() == pytest.approx(1)
