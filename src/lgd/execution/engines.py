"""Choose an engine."""

from pathlib import Path

from lgd.config import ComputeConfig

from .hardware import worker_count
from .local import Local
from .ray import OnRay


def engine_for(compute: ComputeConfig, root: Path) -> Local | OnRay:
    if compute.engine == "ray":
        return OnRay(compute, root)
    return Local(worker_count(compute), root, compute.retries)
