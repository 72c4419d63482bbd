"""The part of the configuration that describes real images as candidates."""

from dataclasses import dataclass
from typing import Literal

from .section import Section
from .types import Count, Whole


@dataclass(frozen=True)
class RealConfig(Section):
    """Real images as candidates, for the methods that select them by the learner's and the reference's losses."""

    candidates: Count = 10
    """Number of real candidates for every image kept. Where a class has fewer, all of them compete."""
    pool: Whole = 0
    """Number of real images per class that may become candidates, a random choice that is the same for every run. 0:
    all. The reference classifies the whole pool once."""
    order: Literal["random", "herding", "k-center"] = "random"
    """Order in which images become candidates: random (drawn anew in every increment), herding or k-center (in the
    reference's features)."""
    seed_method: str = "herding"
    """Name of the method that makes the first increment where no generator is used: random, herding or k-center."""
