"""DD-Ranking's scores against hand values and against evaluations that train the same classifiers one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.cli.test_main import toml

from lgd.classifiers.train import accuracy, train_classifier
from lgd.cli.main import main
from lgd.config import Config, with_values
from lgd.data.splits import cached_splits
from lgd.errors import UserError
from lgd.evaluation.dd_ranking import Ranking, augmentation_robust, label_robust, normalised
from lgd.experiments.evaluate import evaluate
from lgd.rng import derive_seed
from lgd.storage.files import read_json


def test_the_scores_of_hand_values() -> None:
    """From its page: alpha = w IOR - (1 - w) HLR, (e^alpha - e^-1) / (e - e^-1), with accuracies as shares."""
    assert [normalised(alpha) for alpha in (-1, 0, 1)] == pytest.approx([0, 26.8941, 100], abs=1e-4)
    found = label_robust(real_hard=80, synthetic_hard=55, synthetic=60, random=50)
    assert found == pytest.approx({"hlr": 25, "ior": 10, "lrs": 23.8199}, abs=1e-4)  # alpha = -0.075
    assert label_robust(80, 80, 60, 60)["lrs"] == pytest.approx(26.8941, abs=1e-4)
    found = augmentation_robust(synthetic=60, random=50, synthetic_plain=44, random_plain=40)
    assert found == pytest.approx({"augmented": 10, "plain": 4, "ars": 29.9791}, abs=1e-4)  # beta = 0.07


def scored(config: Config, folder: Path, run: Path) -> dict[str, Any]:
    return evaluate(run, str(toml(config, folder / "a.toml")), 2, cells=folder / "cells", dd_ranking=Ranking())


def values(config: Config, folder: Path, run: Path, name: str, changes: dict[str, object]) -> list[float]:
    """Accuracies of an evaluation with some fields changed."""
    changed = toml(with_values(config, changes), folder / f"{name}.toml")
    return evaluate(run, str(changed), 2)["accuracy"]["values"]


def test_hard_labels(finished: Path, tiny: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = scored(tiny, tmp_path, finished)
    last, best = (found["dd_ranking"]["convnet"][key] for key in ("last", "best"))
    own = found["accuracy"]["values"]
    assert last["synthetic"]["values"] == last["synthetic_hard"]["values"] == own
    assert best["synthetic"]["values"] == found["accuracy"]["best"]["values"]
    plain = {"evaluation.classifier.training.crop_padding": 0}
    assert last["synthetic_plain"]["values"] == values(tiny, tmp_path, finished, "plain", plain)
    train, test = cached_splits(tiny.dataset).train, cached_splits(tiny.dataset).test
    for seed in range(2):
        derived = derive_seed(tiny.seed, "evaluation", 0, seed)
        classifier = train_classifier(train, tiny.evaluation.classifier, derived)
        assert last["real_hard"]["values"][seed] == accuracy(classifier, test)
    for seed in range(2):
        row = {name: column["values"][seed] for name, column in last.items()}
        expected = label_robust(row["real_hard"], row["synthetic_hard"], row["synthetic"], row["random"])
        expected |= augmentation_robust(row["synthetic"], row["random"], row["synthetic_plain"], row["random_plain"])
        assert {name: row[name] for name in expected} == expected
    assert len(list((tmp_path / "cells" / "dd-ranking").glob("*.json"))) == 2 * 4
    command = ["evaluate", str(finished), "--test", str(tmp_path / "a.toml"), "--seeds", "2", "--quiet", "--dd-ranking"]
    again = [*command, "--out", str(tmp_path / "cells"), "--real-accuracy", "99.5", "--json", str(tmp_path / "r.json")]
    assert main(again) == 0
    assert "convnet: DD-Ranking at the last and the best: label-robust " in capsys.readouterr().out
    given = read_json(tmp_path / "r.json")["dd_ranking"]["convnet"]["last"]
    assert given["real_hard"]["values"] == [99.5, 99.5]
    assert given["random"] == last["random"]


def test_random_images_are_real_ones_of_every_class(finished: Path, tiny: Config, tmp_path: Path) -> None:
    from lgd.data.folder import read_folder
    from lgd.evaluation.dd_ranking import Scoring, random_images
    from lgd.experiments.resolve import resolve

    evaluation = resolve(tiny, methods=()).evaluation(None)
    train = cached_splits(tiny.dataset).train
    synthetic = read_folder(finished / "dataset", train.class_names, train.shape)
    scoring = Scoring(evaluation, synthetic, None, 2, tmp_path, 99.0)
    sets = [random_images(scoring, seed) for seed in (0, 1, 0)]
    known = {image.numpy().tobytes(): int(label) for image, label in zip(train.images, train.labels, strict=True)}
    for images in sets:
        assert images.labels.bincount().tolist() == [6] * 10
        for image, label in zip(images.images, images.labels, strict=True):
            assert known[image.numpy().tobytes()] == label
    assert torch.equal(sets[0].images, sets[2].images)
    assert not torch.equal(sets[0].images, sets[1].images)


def test_soft_labels(finished: Path, tiny: Config, tmp_path: Path) -> None:
    """The set's own classifiers and those of random images learn from the teacher, the hard ones from the labels."""
    teacher = {
        "evaluation.teacher.weights": str(finished / "reference.safetensors"),
        "evaluation.teacher.architecture": "convnet",
        "evaluation.teacher.width": 8,
        "evaluation.classifier.training.temperature": 1.0,
    }
    config = with_values(tiny, teacher)
    last = scored(config, tmp_path, finished)["dd_ranking"]["convnet"]["last"]
    hard = {"evaluation.classifier.training.temperature": 0.0}
    assert last["synthetic_hard"]["values"] == values(config, tmp_path, finished, "hard", hard)
    assert last["synthetic_hard"]["values"] != last["synthetic"]["values"]
    names = {path.name.rsplit("-", 2)[0] for path in (tmp_path / "cells" / "dd-ranking").glob("*.json")}
    assert names == {"real-hard", "synthetic-hard", "random", "synthetic-plain", "random-plain"}


def test_stored_labels_alone_cannot_label_random_images(finished: Path, tiny: Config, tmp_path: Path) -> None:
    run = tmp_path / "run"
    stored = with_values(tiny, {"evaluation.classifier.training.temperature": 1.0, "evaluation.teacher.stored": True})
    from tests.export.test_export import store_logits

    run.mkdir()
    for folder in sorted((finished / "dataset").iterdir()):
        if folder.is_dir():
            (run / "dataset").mkdir(exist_ok=True)
            (run / "dataset" / folder.name).symlink_to(folder)
    files = [f"{path.parent.name}/{path.name}" for path in sorted((finished / "dataset").glob("*/*.png"))]
    store_logits(run, files, torch.zeros(60, 10))
    with pytest.raises(UserError, match=r"--dd-ranking: .*set evaluation\.teacher\.weights"):
        scored(stored, tmp_path, run / "dataset")
