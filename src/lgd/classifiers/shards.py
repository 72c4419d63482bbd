"""Data-parallel training whose bytes do not depend on the number of processes.

A batch is cut into as many shards as the configuration says, and the gradients of the shards are added in their order,
whether one process computes them all or each process of a torch.distributed group its own. An all-reduce would be
cheaper on many processes, but adds in an order of its own. It needs networks without statistics of a batch:
batch norm is refused beside it.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from itertools import pairwise

import torch
from torch import Tensor, distributed


def backward(loss_of: Callable[[slice], Tensor], parameters: Sequence[Tensor], batch: int, shards: int) -> Tensor:
    """Put the gradient of a batch's mean loss, `loss_of` its parts, into the parameters; return the loss."""
    if shards == 1:
        loss = loss_of(slice(None))
        loss.backward()
        return loss.detach()
    rank, world = group()
    rows = [_row(loss_of, parameters, part, batch) for part in parts(batch, shards)[rank::world]]
    total = reduce(torch.add, gathered(rows, world))  # from the first to the last
    loss, *gradients = total.split([1, *(p.numel() for p in parameters)])
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.view_as(parameter)
    return loss[0]


def group() -> tuple[int, int]:
    """Return this process's rank in its group and the group's size; 0 and 1 outside of a group."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def parts(batch: int, shards: int) -> list[slice]:
    """Split a batch into nearly equal slices; some are empty where the batch is small."""
    edges = [batch * shard // shards for shard in range(shards + 1)]
    return [slice(*edge) for edge in pairwise(edges)]


def gathered(rows: list[Tensor], world: int) -> list[Tensor]:
    """Gather the rows of all processes in the order of their shards; process r has shards r, r + world, ..."""
    if world == 1:
        return rows
    own = torch.stack(rows)
    everything = [torch.empty_like(own) for _ in range(world)]
    distributed.all_gather(everything, own)
    return [everything[shard % world][shard // world] for shard in range(world * len(rows))]


def _row(loss_of: Callable[[slice], Tensor], parameters: Sequence[Tensor], part: slice, batch: int) -> Tensor:
    """Return a shard's share of the mean loss and of its gradient as one vector."""
    size = part.stop - part.start
    if not size:
        return torch.zeros(1 + sum(p.numel() for p in parameters), device=parameters[0].device)
    loss = loss_of(part) * (size / batch)
    gradients = torch.autograd.grad(loss, parameters)
    return torch.cat([loss.detach().view(1), *(gradient.flatten() for gradient in gradients)])
