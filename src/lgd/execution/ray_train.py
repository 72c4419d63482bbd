"""Train one classifier on several Ray workers by Ray Train, one shard of each batch on each (classifiers/shards.py)."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lgd.config import ComputeConfig
from lgd.storage.object_store import Mirror

FOLDER = ".train"
"""folder in the results in which Ray Train keeps its own files; deleted after training"""


def train_together(
    work: Callable[[], None], shards: int, root: Path, mirror: Mirror | None, compute: ComputeConfig
) -> None:
    """Call `work` in `shards` workers of one torch.distributed group; all of them write the same bytes.

    When a worker dies the whole group starts again, up to `compute.retries` times. Errors: the first worker's own.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchTrainer

    resources = {"CPU": compute.cpus_per_unit, "GPU": compute.gpus_per_unit}
    trainer = TorchTrainer(
        lambda: work(),
        scaling_config=ScalingConfig(
            num_workers=shards, use_gpu=compute.gpus_per_unit > 0, resources_per_worker=resources
        ),
        run_config=RunConfig(failure_config=FailureConfig(max_failures=compute.retries), **_storage(root, mirror)),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        failures = list(getattr(error, "worker_failures", {}).values())
        raise getattr(failures[0], "_base_exc", failures[0]) if failures else error from None
    finally:
        _tidy(root, mirror)


def _storage(root: Path, mirror: Mirror | None) -> dict[str, Any]:
    if mirror is None:
        return {"storage_path": str(root / FOLDER)}
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    store, base = mirror.open()
    return {"storage_path": f"{base}/{FOLDER}", "storage_filesystem": PyFileSystem(FSSpecHandler(store))}


def _tidy(root: Path, mirror: Mirror | None) -> None:
    if mirror is None:
        shutil.rmtree(root / FOLDER, ignore_errors=True)
    else:
        store, base = mirror.open()
        store.invalidate_cache()
        if store.exists(f"{base}/{FOLDER}"):
            store.rm(f"{base}/{FOLDER}", recursive=True)
