"""The reference classifier alone, for use in other runs."""

from pathlib import Path
from typing import Any

from lgd.classifiers.train import accuracy
from lgd.config import Config
from lgd.distillation.judge import load_reference
from lgd.execution.engines import engine_for
from lgd.storage.files import read_json, write_json
from lgd.storage.object_store import workspace

from .prepare import prepare_classifier
from .resolve import has_reference, resolve
from .run_directory import claim


def train_reference(config: Config | str, out: str | Path, overwrite: bool = False) -> dict[str, Any]:
    """Train the reference into `out`, unless it is there; return its accuracy in percent. Errors: as `distill`."""
    experiment = resolve(config, methods=(), checks=[has_reference])
    with workspace(out, overwrite) as root, engine_for(experiment.config.compute, root) as engine:
        claim(root / "config.json", experiment.record("dataset", "reference"))
        assets = experiment.assets(root)
        prepare_classifier(assets, "reference", engine)
        test = experiment.splits.test
        metrics = {"accuracy": accuracy(load_reference(assets), test), "images": len(test)}
        write_json(root / "metrics.json", {**metrics, "seconds": read_json(root / "seconds.json")})
    return metrics
