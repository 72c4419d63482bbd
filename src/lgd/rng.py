"""Seeds and random generators; every random number of the package comes from here.

Seeds are derived from names, never from the order of events. So the noise of an image, or the weights of a learner, do
not depend on the batch, on the number of workers, or on earlier random numbers.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b

import torch
from torch import Tensor


def derive_seed(*parts: int | str) -> int:
    """Derive a 63-bit seed from names and numbers by a hash (BLAKE2b)."""
    text = "/".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) >> 1


def generator(*parts: int | str) -> torch.Generator:
    """Make a generator seeded from `parts`, on the CPU, so that its numbers are the same for every device."""
    return torch.Generator().manual_seed(derive_seed(*parts))


def image_seed(run_seed: int, increment: int, class_name: str, slot: int, candidate: int) -> int:
    """Derive the seed of one candidate image (docs/method.md, "Randomness")."""
    return derive_seed(run_seed, "image", increment, class_name, slot, candidate)


def noise(generators: Sequence[torch.Generator], shape: Sequence[int]) -> Tensor:
    """Draw standard normal noise (B, *shape), with one generator per image."""
    return torch.stack([torch.randn(tuple(shape), generator=g) for g in generators])


@contextmanager
def seeded_initialisation(*parts: int | str) -> Iterator[None]:
    """Seed torch's global generator for the block, and restore it afterwards.

    Only for the initial weights of modules, which torch and diffusers draw from the global generator.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(*parts))
        yield
