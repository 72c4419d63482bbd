"""The machine a run is on: device, worker processes, threads, and a record of the software."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch

from . import __version__
from .config import Config
from .console import Console
from .distillation.materials import resolve_device
from .errors import UserError
from .execution.local import Local
from .execution.ray import OnRay


def check_device(name: str) -> None:
    """Errors: UserError for a device that torch does not know or this machine does not have."""
    try:
        torch.empty(1, device=resolve_device(name))
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"compute.device: {name!r} is not here: {str(error).splitlines()[0]}") from None


def worker_count(config: Config) -> int:
    """Processes for units of work: as configured, or one per core; one where a GPU does the work."""
    if config.compute.workers:
        return config.compute.workers
    return 1 if resolve_device(config.compute.device).startswith("cuda") else len(os.sched_getaffinity(0))


def engine_for(config: Config, root: Path, console: Console) -> Local | OnRay:
    """What runs the units of a run in `root`."""
    if config.compute.engine == "ray":
        return OnRay(config.compute, root, console)
    return Local(worker_count(config), root, console, config.compute.retries)


def environment() -> dict[str, str]:
    """Versions that the bytes of an image may depend on."""
    packages = ("torch", "diffusers", "numpy", "scikit-learn")
    return {
        "lgd": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        **{name: version(name) for name in packages},
    }
