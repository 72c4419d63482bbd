"""Training in shards: the same bytes in one process and in several, and the gradients of the whole batch."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing
from torch.nn import functional as F

from lgd.classifiers.shards import backward, parts
from lgd.classifiers.train import train_classifier
from lgd.config import ClassifierConfig, TrainingConfig
from lgd.data.imageset import ImageSet


def images() -> ImageSet:
    draw = torch.Generator().manual_seed(0)
    return ImageSet(torch.randint(0, 256, (26, 1, 8, 8), generator=draw).byte(), torch.arange(26) % 3, ("a", "b", "c"))


def config(shards: int) -> ClassifierConfig:
    """Batches of 8, 8, 8 and 2 images."""
    training = TrainingConfig(epochs=2, batch_size=8, optimizer="sgd", learning_rate=0.01, shards=shards, cutmix=True)
    return ClassifierConfig(width=4, depth=1, training=training)


def trained(shards: int) -> torch.Tensor:
    classifier = train_classifier(images(), config(shards), 3)
    return torch.cat([parameter.flatten() for parameter in classifier.parameters()])


@pytest.mark.parametrize(("batch", "shards"), [(8, 2), (7, 3), (2, 4), (1, 1)])
def test_every_image_is_in_one_part(batch: int, shards: int) -> None:
    found = parts(batch, shards)
    assert len(found) == shards
    assert [i for part in found for i in range(batch)[part]] == list(range(batch))


@pytest.mark.parametrize("shards", [2, 3, 4])
def test_the_gradient_is_that_of_the_whole_batch(shards: int) -> None:
    torch.manual_seed(0)
    layer, x, y = torch.nn.Linear(5, 3).double(), torch.randn(10, 5).double(), torch.arange(10) % 3
    loss = backward(lambda part: F.cross_entropy(layer(x[part]), y[part]), list(layer.parameters()), 10, shards)
    found = [p.grad.clone() for p in layer.parameters() if p.grad is not None]
    layer.zero_grad()
    whole = F.cross_entropy(layer(x), y)
    whole.backward()
    torch.testing.assert_close(loss, whole.detach())
    torch.testing.assert_close(found, [p.grad for p in layer.parameters()])


def test_shards_change_the_training_by_rounding_alone() -> None:
    torch.testing.assert_close(trained(4), trained(1), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("shards", "processes"), [(2, 2), (4, 2), (3, 3)])
def test_one_process_and_several_give_the_same_bytes(shards: int, processes: int, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    members = [context.Process(target=member, args=(rank, processes, shards, tmp_path)) for rank in range(processes)]
    for process in members:
        process.start()
    for process in members:
        process.join()
    alone = trained(shards)
    for rank in range(processes):
        assert torch.equal(torch.load(tmp_path / f"{rank}.pt", weights_only=True), alone)


def member(rank: int, processes: int, shards: int, folder: Path) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=processes)
    torch.save(trained(shards), folder / f"{rank}.pt")
    distributed.destroy_process_group()
    os._exit(0)
