"""The definition of a method: a way of making the images of an increment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lgd.config import GuidanceConfig
from lgd.data.imageset import ImageSet
from lgd.distillation.recipe import Assets, Recipe
from lgd.distillation.resources import Resources
from lgd.distillation.store import SelectedImage


@dataclass(frozen=True)
class Asset:
    """Networks of a method's own, trained once per assets directory and shared by its runs."""

    name: str
    """of its folder below the assets directory"""
    done: str
    """file in that folder that is written last"""
    made_from: Callable[[Assets], Any]
    """the part of the configuration, a dataclass, that the asset depends on beside the image set"""
    make: Callable[[Assets, Path, ImageSet, Callable[[], None]], None]
    """write the asset into a folder, from the training images, and call the last argument after every step"""
    steps: Callable[[Assets], int]
    """number of those steps"""


@dataclass(frozen=True)
class Method:
    """A way of making images."""

    sample: Callable[[Resources], list[SelectedImage]]
    """make the images of one group of classes of one increment"""
    summary: str
    needs_learner: bool = False
    needs_generator: bool = True
    assets: tuple[Asset, ...] = ()
    guidance: Callable[[Recipe], GuidanceConfig] | None = None
    """the settings of a guidance that differentiates a score; None: the method has none"""
    one_real_image_each: bool = False
    """every image stands on a real image, or a cluster, of its own: no class may have fewer of them than the IPC"""
    fixed_size: bool = False
    """the whole real set: a ceiling, without IPC and increments"""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """dotted fields of the configuration that the method sets"""
