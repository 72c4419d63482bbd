"""The type of an entry of METHODS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lgd.distillation.resources import Resources
from lgd.distillation.store import SelectedImage


@dataclass(frozen=True)
class Method:
    """A way to make images."""

    draw: Callable[[Resources], list[SelectedImage]]
    """Makes the images of one group of classes of one increment."""
    summary: str
    """one line about the method"""
    needs_learner: bool = False
    """whether it needs a learner, and so a seed set of another method"""
    needs_generator: bool = True
    """whether it samples from the generator"""
    needs_surrogate: bool = False
    """whether it needs the surrogate's checkpoints and class gradients (surrogate.py)"""
    one_real_image_each: bool = False
    """whether every image needs a real image, or a cluster, of its own, so that no class may have fewer than the IPC"""
    fixed_size: bool = False
    """whether it takes the whole real set and ignores IPC and increments"""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """fields of the configuration that it sets, as `config.with_values` takes them"""
