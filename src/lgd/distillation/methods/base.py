"""The types of methods and of the assets that they train."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lgd.config import ClassifierConfig, GuidanceConfig
from lgd.data.imageset import ImageSet
from lgd.distillation.recipe import Assets, Growth, Recipe
from lgd.distillation.resources import Resources
from lgd.distillation.store import SelectedImage
from lgd.execution.units import Unit

from .candidates import CandidateSource
from .coresets import order_units
from .real import ordered_images
from .sampling import SAMPLED


@dataclass(frozen=True)
class Asset:
    """Networks of one method, trained once per assets directory and shared by the runs in it."""

    name: str
    """name of its folder in the assets directory"""
    done: str
    """name of the file in that folder that is written last"""
    made_from: Callable[[Assets], Any]
    """returns the part of the configuration, a dataclass, on which the asset depends besides the image set"""
    make: Callable[[Assets, Path, ImageSet, Callable[[], None]], None]
    """makes the asset: takes (assets, folder, training images, advance) and calls `advance` after every step"""
    classifier: Callable[[Assets], ClassifierConfig]
    """returns the classifier that is trained, one step an epoch"""


@dataclass(frozen=True)
class Method:
    """A way to make images."""

    sample: Callable[[Resources], list[SelectedImage]]
    """makes the images of one group of classes of one increment"""
    summary: str
    """one line about the method"""
    needs_learner: bool = False
    """whether it needs a learner, and so a seed set of another method"""
    sources: tuple[CandidateSource, ...] = (SAMPLED,)
    """of its candidates; none for a method that takes real images without a choice among them"""
    order: str = ""
    """order of each class's real images in which it takes them, if it does"""
    seed_field: str = "stages.seed_method"
    """dotted field that names the method of its seed set"""
    needs_reference: bool = True
    """whether it uses the reference, apart from the evaluation"""
    assets: tuple[Asset, ...] = ()
    """networks of its own"""
    guidance: Callable[[Recipe], GuidanceConfig] | None = None
    """returns the settings of its guidance by a score's gradient; None: it has no such guidance"""
    section: str = ""
    """section of the configuration that holds settings of this method alone"""
    one_real_image_each: bool = False
    """whether every image needs a real image, or a cluster, of its own, so that no class may have fewer than the IPC"""
    fixed_size: bool = False
    """whether it takes the whole real set and ignores IPC and increments"""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """dotted fields of the configuration that the method sets; a function returns a value for a configuration"""
    check: Callable[[Recipe], None] = lambda recipe: None
    """raises UserError for settings with which the method cannot work"""

    @property
    def needs_generator(self) -> bool:
        """Return whether it samples from the generator."""
        return any(source.generated for source in self.sources)

    def units(self, growth: Growth, recipe: Recipe) -> list[Unit]:
        """Return the units that measure or order the real images before the first increment."""
        found = [unit for source in self.sources for unit in source.units(growth, recipe)]
        return found + (order_units(growth, self.order, ordered_images(recipe)) if self.order else [])
