"""Choose an engine."""

from __future__ import annotations

from pathlib import Path

from lgd.config import Config

from .hardware import worker_count
from .local import Local
from .ray import OnRay


def engine_for(config: Config, root: Path) -> Local | OnRay:
    """Return the configured engine for the units of a run in directory `root`."""
    if config.compute.engine == "ray":
        return OnRay(config.compute, root)
    return Local(worker_count(config.compute), root, config.compute.retries)
