"""The teacher of the soft-label protocol, and its labels stored beside the images."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from lgd.classifiers.architectures import Classifier, predict
from lgd.classifiers.train import columns_of, load_classifier
from lgd.config import ClassifierConfig, EvaluationConfig
from lgd.data.imageset import ImageSet
from lgd.errors import UserError
from lgd.storage.files import load_tensors_and_metadata, parse_json, save_tensors

from .protocols import training_for

FILE = "soft_labels.safetensors"
"""beside the images of a data set: `logits` (N, classes), and the files and classes they stand for as metadata"""


@dataclass(frozen=True)
class Teacher:
    """The file of a classifier that gives soft labels, and its network."""

    file: Path
    network: ClassifierConfig


def needs_teacher(config: EvaluationConfig) -> bool:
    """Return whether the protocol trains on soft labels. Errors: UserError for an unknown protocol."""
    return training_for(config, ipc=1, shape=(3, 1, 1), classes=2).temperature > 0  # the same for any set


def teacher_of(config: EvaluationConfig, reference: Teacher | None) -> Teacher | None:
    """Return the configured teacher, or else the reference.

    None where the evaluation learns from hard labels, or from stored soft labels of a set that comes without a
    reference. Errors: UserError when soft labels have no teacher.
    """
    if not needs_teacher(config):
        return None
    own = config.teacher
    if own.weights:
        return Teacher(Path(own.weights), ClassifierConfig(own.architecture, own.width, own.depth, own.norm))
    if reference is None and not own.stored:
        raise UserError("soft labels need a teacher: set evaluation.teacher.weights to a classifier saved by lgd")
    return reference


def load_teacher(teacher: Teacher, like: ImageSet, device: str) -> Classifier:
    """Load a teacher of the classes and shape of `like`. Errors: UserError for other classes or another network."""
    return load_classifier(teacher.file, teacher.network, like, device)


def store_soft_labels(path: Path, teacher: Classifier, images: ImageSet, files: Sequence[str]) -> None:
    metadata = {"files": json.dumps(list(files)), "class_names": json.dumps(images.class_names)}
    save_tensors(path, {"logits": predict(teacher, images)}, metadata)


def stored_soft_labels(path: Path, files: Sequence[str], class_names: Sequence[str]) -> Tensor:
    """Return the logits (N, classes) of the given files, ordered as `class_names`. Errors: UserError."""
    tensors, metadata = load_tensors_and_metadata(path)
    columns = columns_of(path, metadata, class_names)
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
    return logits[[rows[name] for name in files]][:, columns]
