"""Where every random number comes from.

Seeds are derived from names, never from an order of events: what is drawn for one image or one learner cannot depend
on the batch it is drawn in, on the number of workers, or on what was drawn before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b

import torch
from torch import Tensor


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed that is a pure function of `parts`; changing any part changes it beyond recognition."""
    text = "/".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) >> 1


def generator(*parts: int | str) -> torch.Generator:
    """A CPU generator seeded from `parts`. Draws are made on the CPU so that they are the same for every device."""
    return torch.Generator().manual_seed(derive_seed(*parts))


def image_seed(run_seed: int, increment: int, class_index: int, slot: int, candidate: int) -> int:
    """The seed of one candidate image (method.md, section 3, "Randomness")."""
    return derive_seed(run_seed, "image", increment, class_index, slot, candidate)


def noise(generators: Sequence[torch.Generator], shape: Sequence[int]) -> Tensor:
    """Standard normal noise, (B, *shape) with one generator per image."""
    return torch.stack([torch.randn(tuple(shape), generator=g) for g in generators])


@contextmanager
def seeded_initialisation(*parts: int | str) -> Iterator[None]:
    """Seed torch's global generator for the block and restore it afterwards.

    For the weight initialisation of modules alone, which torch and diffusers take from the global generator.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(*parts))
        yield
