"""The teacher of the soft-label protocol, and its labels stored beside the images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from lgd.classifiers.architectures import Classifier, predict
from lgd.classifiers.train import check_classes, load_classifier
from lgd.config import ClassifierConfig, Config
from lgd.data.imageset import ImageSet
from lgd.errors import UserError
from lgd.storage.files import load_tensors_and_metadata, parse_json, save_tensors

from .protocols import training_for

FILE = "soft_labels.safetensors"
"""beside the images of a data set: `logits` (N, classes), and the files and classes they stand for as metadata"""


def needs_teacher(config: Config) -> bool:
    """Return whether the protocol trains on soft labels. Errors: UserError for an unknown protocol."""
    return training_for(config.evaluation, ipc=1, shape=(3, 1, 1), classes=2).temperature > 0  # the same for any set


def load_teacher(config: Config, reference: Path | None, like: ImageSet, device: str) -> Classifier:
    """The configured teacher; without one the reference in the file `reference`.

    Errors: UserError when there is neither, or it is for other classes or another network.
    """
    teacher = config.evaluation.teacher
    if teacher.weights:
        network = ClassifierConfig(teacher.architecture, width=teacher.width, depth=teacher.depth, norm=teacher.norm)
        return load_classifier(Path(teacher.weights), network, like, device)
    if reference is None:
        raise UserError("soft labels need a teacher: set evaluation.teacher.weights to a classifier saved by lgd")
    return load_classifier(reference, config.reference, like, device)


def store_soft_labels(path: Path, teacher: Classifier, images: ImageSet, files: Sequence[str]) -> None:
    """Write the teacher's logits of every image, in the order of `files`."""
    metadata = {"files": json.dumps(list(files)), "class_names": json.dumps(images.class_names)}
    save_tensors(path, {"logits": predict(teacher, images)}, metadata)


def stored_soft_labels(path: Path, files: Sequence[str], class_names: Sequence[str]) -> Tensor:
    """Logits (N, classes) of the given files. Errors: UserError naming a corrupt file or an image without a label."""
    tensors, metadata = load_tensors_and_metadata(path)
    check_classes(path, metadata, class_names)
    try:
        rows = {name: row for row, name in enumerate(parse_json(metadata["files"]))}
        logits = tensors["logits"]
    except (KeyError, ValueError, TypeError):
        raise UserError(f"{path}: corrupt: no logits, or no list of their files") from None
    if logits.shape != (len(rows), len(class_names)):
        raise UserError(f"{path}: corrupt: logits {tuple(logits.shape)} for {len(rows)} files")
    missing = [name for name in files if name not in rows]
    if missing:
        raise UserError(f"{path}: no label for {missing[0]}; delete it and run the same command to label anew")
    return logits[[rows[name] for name in files]]
