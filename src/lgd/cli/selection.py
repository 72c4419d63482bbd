"""The command `lgd select`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from tyro.conf import arg

from lgd.config import Config

from .options import Fields, Output
from .parsing import parse_with_preset


@dataclass(frozen=True)
class SelectOptions(Output):
    """Select real images of each class, without a generator. The same command continues an interrupted selection."""

    out: str
    """Directory or URL of the selected images, which lie in its folder dataset."""
    per_class: Annotated[int, arg(aliases=("--ipc",))] = 10
    """Number of images to select of each class."""
    config: Fields = field(default_factory=Config)
    """The configuration, of which selection reads dataset, method, seed, reference, learner and compute."""


def select(arguments: Sequence[str]) -> int:
    options = parse_with_preset(SelectOptions, "select", arguments, method="auto")
    from lgd.experiments.select import select_into, selecting

    config = selecting(options.config, options.per_class)
    found = select_into(config, options.out, options.overwrite)
    classes = len(found.class_names)
    print(f"{options.out}/dataset: {len(found)} real images of {classes} classes by {config.method}")
    return 0
