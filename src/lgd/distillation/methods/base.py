"""What a method is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lgd.distillation.resources import Resources
from lgd.distillation.store import SelectedImage


@dataclass(frozen=True)
class Method:
    """A way of making images."""

    draw: Callable[[Resources], list[SelectedImage]]
    """the images of one group of classes of one increment"""
    summary: str
    needs_learner: bool = False
    needs_generator: bool = True
    needs_surrogate: bool = False
    """checkpoints of a classifier with their class gradients; prepared once, like the generator"""
    one_real_image_each: bool = False
    """every image stands on a real image, or a cluster, of its own: no class may have fewer of them than the IPC"""
    fixed_size: bool = False
    """the whole real set: a ceiling, without IPC and increments"""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """what it changes in the configuration, as `config.with_values` takes it"""
