"""The reference classifier alone, for use in other runs."""

from pathlib import Path
from typing import Any

from lgd.config import Config
from lgd.execution.engines import engine_for
from lgd.storage.files import read_json, write_json
from lgd.storage.object_store import workspace

from .prepare import prepare_classifier
from .reference import reference_metrics, reference_unit
from .resolve import has_reference, resolve
from .run_directory import claim


def train_reference(config: Config | str, out: str | Path, overwrite: bool = False) -> dict[str, Any]:
    """Train the reference into `out`, unless it is there; return its accuracy in percent. Errors: as `distill`."""
    experiment = resolve(config, methods=(), checks=[has_reference])
    compute = experiment.config.compute
    with workspace(out, overwrite) as root, engine_for(compute, root) as engine:
        claim(root / "config.json", experiment.record("dataset", "reference"))
        assets = experiment.assets(root)
        prepare_classifier(reference_unit(assets), assets.reference, engine, compute.engine == "ray")
        metrics = reference_metrics(assets)
        write_json(root / "metrics.json", {**metrics, "seconds": read_json(root / "seconds.json")})
    return metrics
