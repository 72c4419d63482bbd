"""Selection of real images alone: no generator, and no evaluation."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from lgd.config import Config, with_per_class, with_values
from lgd.data.imageset import ImageSet, LabelledImages, Splits
from lgd.data.memory import image_set
from lgd.distillation.layout import Run
from lgd.distillation.methods import METHODS, methods_used
from lgd.distillation.methods.checks import check_method
from lgd.distillation.stages import grow
from lgd.distillation.store import load, read_manifest
from lgd.errors import UserError
from lgd.execution.engines import engine_for
from lgd.storage.files import write_json
from lgd.storage.object_store import workspace

from .auto_method import settled
from .inputs import configuration
from .prepare import prepare, record_parts
from .resolve import has_learner, has_reference, resolve
from .run_directory import claim, timed


class Selection(LabelledImages):
    """Selected real images as a torch dataset."""

    def __init__(self, images: ImageSet, indices: np.ndarray) -> None:
        super().__init__(images)
        self.indices = indices
        """positions of the images in the set that they were selected from, int64 (N,)"""


def select(
    images: Any,
    labels: Any = None,
    per_class: int = 10,
    method: str = "auto",
    out: str | Path | None = None,
    **settings: Any,
) -> Selection:
    """Select real images, `per_class` of each class, without a generator.

    images, labels, settings and errors: as `lgd.distill`; of a source with a test part, and of a preset, the training
    images. method: random, herding, k-center, or another method of real images; auto chooses one by `per_class` and
    logs why. out: a run directory to keep them in, so that the same call continues; None: none is kept. The reference,
    whose features or losses decide, is trained on all images, with the settings that `lgd distill` chooses. Selection
    takes no step that needs test images.
    """
    if not isinstance(images, str | Path | Config):
        images, labels = image_set(images, labels), None
        settings = {"dataset.test_fraction": 0.0, **settings}
    config = selecting(configuration(images, labels, None, {**settings, "method": method}), per_class)
    with TemporaryDirectory() as temporary:
        return select_into(config, Path(temporary, "selection") if out is None else out)


def selecting(config: Config, per_class: int) -> Config:
    """Return the configuration of a selection of `per_class` images per class; one process does it, unless told.

    Without a learner there is one increment. Errors: UserError.
    """
    sized = settled(with_per_class(config, per_class, 1))
    if any(method.needs_learner for method in methods_used(sized)):
        sized = with_per_class(replace(config, method=sized.method), per_class)
    return with_values(sized, {"compute.workers": config.compute.workers or 1})


def select_into(config: Config, out: str | Path, overwrite: bool = False) -> Selection:
    """Select real images by the method of a configuration into the directory `out`; the same call continues it.

    Errors: UserError, among others for a directory that was made with another configuration.
    """
    base = resolve(config, methods=(), checks=[makes_a_set, has_reference, has_learner])
    experiment = base.with_method(base.config.method, base.config.seed)
    compute, stages = experiment.config.compute, experiment.config.stages
    with workspace(out, overwrite) as root, engine_for(compute, root) as engine:
        run, assets = Run(root), experiment.assets(root)
        claim(run.config, experiment.record())
        growth = experiment.growth(run, assets)
        write_json(root / "classes.json", list(growth.class_order))
        used = methods_used(experiment.config)
        record_parts(run, assets, used, evaluated=False)
        if any(method.needs_reference for method in used):
            prepare(assets, used, engine, judged=False)
        with timed(root, "stages"):
            grow(growth, engine)
        folders = run.increments(stages.increments)
        indices = [row.source for folder in folders for row in read_manifest(folder)]
        return Selection(load(root).images, np.array(indices, dtype=np.int64))


def makes_a_set(config: Config, splits: Splits) -> None:
    """Check that the method selects real images, and as `check_method` does. Errors: UserError."""
    if any(method.needs_generator for method in methods_used(config)):
        real = ", ".join(name for name, one in METHODS.items() if not one.needs_generator)
        raise UserError(f"method {config.method!r} samples from a generator; to select real images: {real}")
    check_method(config, splits.train)


class ImageSelector(BaseEstimator):
    """Select images as a scikit-learn estimator does.

    selector = lgd.ImageSelector(per_class=10, method="herding").fit(images, labels)
    images[selector.get_support()], labels[selector.get_support()]
    """

    def __init__(self, per_class: int = 10, method: str = "auto", seed: int = 0) -> None:
        self.per_class = per_class
        self.method = method
        self.seed = seed

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803 (scikit-learn's names)
        """Select from images (N, H, W, C) with labels (N,), as `lgd.select` takes them. Errors: UserError."""
        found = select(X, y, self.per_class, self.method, seed=self.seed)
        self.indices_ = np.sort(found.indices)
        self.n_images_ = len(X)
        return self

    def get_support(self, indices: bool = False) -> np.ndarray:
        """Return the mask of the selected images, bool (N,), or their sorted positions."""
        check_is_fitted(self)
        if indices:
            return self.indices_
        mask = np.zeros(self.n_images_, dtype=bool)
        mask[self.indices_] = True
        return mask

    def fit_resample(self, X: Any, y: Any) -> tuple[Any, Any]:  # noqa: N803
        """Return the selected images and labels, as imbalanced-learn's samplers do."""
        chosen = self.fit(X, y).indices_
        return np.asarray(X)[chosen], np.asarray(y)[chosen]
