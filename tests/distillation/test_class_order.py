"""The order of the classes decides the labels in files, and nothing else."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.conftest import resources_of

from lgd import distill, load
from lgd.classifiers.train import (
    load_classifier,
    save_classifier,
    train_classifier,
    untrained_classifier,
)
from lgd.config import Config, with_values
from lgd.data.splits import cached_splits
from lgd.distillation.layout import Run
from lgd.distillation.methods.sampled import sample_unguided
from lgd.export.samples import read_export
from lgd.storage.files import read_json, save_tensors

ORDERS = (("3", "1", "7"), ("7", "3", "1"))


@pytest.fixture(scope="module")
def runs(tiny: Config, tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Return whole runs on the same three classes in two orders: every network is trained, the labels are stored."""
    few = with_values(
        tiny,
        {
            "stages.increments": 2,
            "guidance.deviation": 0.1,
            "evaluation.seeds": 1,
            "evaluation.protocol": "soft",
            "evaluation.epochs_factor": 0.01,
            "evaluation.teacher.stored": True,
        },
    )
    folder = tmp_path_factory.mktemp("orders")
    return [distill(with_values(few, {"dataset.classes": order}), folder / "".join(order)) for order in ORDERS]


def files_of(run: Run, *patterns: str) -> dict[str, bytes]:
    found = [path for pattern in patterns for path in run.root.glob(pattern) if path.is_file()]
    return {str(path.relative_to(run.root)): path.read_bytes() for path in found}


def test_the_order_of_classes_changes_no_image_and_no_network(runs: list[Run]) -> None:
    one, other = (files_of(run, "**/*.png", "**/*.safetensors", "evaluation/*.json") for run in runs)
    made = [name for name in one if not name.startswith("figures")]
    assert sum(name.startswith("dataset/") and name.endswith(".png") for name in made) == 12
    assert {"reference.safetensors", "increments/02/learners/0.safetensors"} <= set(made)
    assert [name for name in made if one[name] != other[name]] == []
    first, second = (read_json(run.metrics) for run in runs)
    for key in ("reference", "increments", "redundancy"):
        assert first[key] == second[key]


def test_files_and_exports_have_the_labels_that_were_asked_for(runs: list[Run]) -> None:
    found = []
    for run, order in zip(runs, ORDERS, strict=True):
        assert json.loads((run.root / "classes.json").read_text()) == list(order)
        with (run.dataset / "metadata.csv").open() as file:
            assert all(order[int(row["label"])] == row["class_name"] for row in csv.DictReader(file))
        loaded, export = load(run.root), read_export(run.root)
        assert [order[label] for label in loaded.images.labels] == [row.class_name for row in loaded.rows]
        assert export.logits is not None
        by_name = {
            s.file: dict(zip(order, row.tolist(), strict=True))
            for s, row in zip(export.samples, export.logits, strict=True)
        }
        found.append(by_name)
    assert found[0] == found[1]


def test_images_of_a_class_do_not_depend_on_the_other_classes(finished: Path, tiny: Config, tmp_path: Path) -> None:
    """With a given generator; in batches of their own, for sums round as the batch is cut."""
    given = {"generator.source": str(finished / "generator"), "method": "dit"}
    images = []
    for classes in ((), ("8", "2", "5")):
        config = with_values(tiny, {**given, "dataset.classes": classes})
        train = cached_splits(config.dataset).train
        root, label = tmp_path / str(len(train.class_names)), train.class_names.index("5")
        reference = untrained_classifier(train, config.reference, 0)
        save_classifier(reference, root / "reference.safetensors", config.reference, train)
        images.append(sample_unguided(resources_of(config, root, 1, range(label, label + 1))))
    assert [one.candidates[0].seed for one in images[0]] == [one.candidates[0].seed for one in images[1]]
    assert all(one.image.equal(other.image) for one, other in zip(*images, strict=True))


def test_a_classifier_counts_its_classes_as_its_file_does(tiny: Config, tmp_path: Path) -> None:
    """Files of lgd name their classes; weights of a bare network are in the order of `dataset.classes`."""
    order = ("7", "3", "1")
    train = cached_splits(with_values(tiny, {"dataset.classes": order}).dataset).train
    assert train.class_names == ("1", "3", "7")
    classifier = train_classifier(train, tiny.reference, 0)
    x = train.images[:5].float() / 255
    bare = {k.removeprefix("network."): v for k, v in classifier.state_dict().items() if k.startswith("network.")}
    head = max(int(name.split(".")[0]) for name in bare)
    mixed = {k: v[[2, 1, 0]].contiguous() if k.startswith(f"{head}.") else v for k, v in bare.items()}  # 7, 3, 1
    save_file(mixed, tmp_path / "bare.safetensors")
    again = load_classifier(tmp_path / "bare.safetensors", tiny.reference, train, "cpu", order)
    assert torch.equal(again(x), classifier(x))
    tensors = {**classifier.state_dict(), **{f"network.{k}": v for k, v in mixed.items()}}
    save_tensors(tmp_path / "own.safetensors", tensors, {"class_names": json.dumps(order)})
    assert torch.equal(load_classifier(tmp_path / "own.safetensors", tiny.reference, train)(x), classifier(x))
