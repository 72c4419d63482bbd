"""The cells of a comparison: none runs twice, failures are listed at the end, several architectures, soft labels."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lgd.cli.main import main
from lgd.config import Config, to_dict, with_values
from lgd.errors import IncompleteError, UserError
from lgd.evaluation import cells
from lgd.evaluation.cells import evaluators
from lgd.experiments.compare import compare_methods
from lgd.experiments.evaluate import evaluate


@pytest.fixture(scope="module")
def small(tiny: Config) -> Config:
    """Return a configuration with real images only, so that evaluation is nearly all of the work."""
    return with_values(
        tiny,
        {
            "stages.increments": 2,
            "evaluation.evaluations": 1,
            "evaluation.architectures": ("convnet", "resnet8"),
        },
    )


def written(root: Path) -> dict[str, int]:
    """Return the time at which each cell was written."""
    return {str(p.relative_to(root)): p.stat().st_mtime_ns for p in sorted(root.glob("*/evaluation/*.json"))}


@pytest.fixture(scope="module")
def compared(small: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("compared") / "out"
    compare_methods(small, ["random"], root, runs=2)
    return root


def test_a_cell_for_every_kind_architecture_increment_and_seed(compared: Path, small: Config) -> None:
    names = set(written(compared))
    expected = {
        f"random-seed{run}/evaluation/accuracy-{architecture}-{i:02d}-{seed}.json"
        for run in (0, 1)
        for architecture in evaluators(small.evaluation)
        for i in (1, 2)
        for seed in range(small.evaluation.seeds)
    }
    expected |= {f"random-seed{run}/evaluation/redundancy-{i:02d}-0.json" for run in (0, 1) for i in (1, 2)}
    assert names == expected
    cell = json.loads((compared / "random-seed0/evaluation/accuracy-resnet8-02-1.json").read_text())
    assert cell["evaluations"] == min(small.evaluation.evaluations, small.evaluation.classifier.training.epochs)
    assert cell["best"] >= cell["accuracy"]


def test_last_and_best_of_every_architecture_are_named(compared: Path) -> None:
    method = json.loads((compared / "comparison.json").read_text())["methods"]["random"]
    assert set(method["architectures"]) == {"convnet", "resnet8"}
    assert method["accuracy"] == method["architectures"]["convnet"]
    for row in method["accuracy"].values():
        assert row["n"] == row["runs"] == 2
        assert row["best"]["mean"] >= row["mean"]
    names = ("overview", "accuracy-last", "accuracy-best", "cross-architecture", "redundancy")
    files = {path.name for path in (compared / "tables").iterdir()}
    assert files == {f"{name}.{suffix}" for name in names for suffix in ("md", "csv", "tex")}
    assert "best of several evaluations" in (compared / "comparison.md").read_text()


def test_rerunning_does_nothing_twice_and_a_deleted_cell_alone_comes_back(compared: Path, small: Config) -> None:
    before, result = written(compared), (compared / "comparison.json").read_text()
    compare_methods(small, ["random"], compared, runs=2)
    assert written(compared) == before
    lost = "random-seed1/evaluation/accuracy-resnet8-02-1.json"
    (compared / lost).unlink()
    compare_methods(small, ["random"], compared, runs=2)
    after = written(compared)
    assert {name for name in after if after[name] != before[name]} == {lost}
    assert (compared / "comparison.json").read_text() == result


def fail_once(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Make classifier 1 of the second run fail."""
    original = cells.train_and_test

    def failing(evaluation: cells.Evaluation, train: Any, test: Any, architecture: str, seed: int, *rest: Any) -> Any:
        if (evaluation.seed, architecture, seed) == (1, "resnet8", 1):
            raise error
        return original(evaluation, train, test, architecture, seed, *rest)

    monkeypatch.setattr(cells, "train_and_test", failing)


def without_last_cells(compared: Path, target: Path) -> Path:
    """Copy a directory without the cells that `fail_once` makes fail."""
    shutil.copytree(compared, target)
    for cell in target.glob("random-seed1/evaluation/accuracy-resnet8-*-1.json"):
        cell.unlink()
    return target


def test_a_failed_cell_is_told_at_the_end_and_the_rest_kept(
    small: Config,
    compared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root, path = without_last_cells(compared, tmp_path / "out"), tmp_path / "tiny.toml"
    kept = written(root)
    path.write_text("\n".join(toml_lines("", to_dict(small))))
    command = ["compare", str(path), "--methods", "random", "--out", str(root), "--runs", "2", "--quiet"]
    fail_once(monkeypatch, RuntimeError("out of\nmemory"))
    assert main(command) == 1
    output = capsys.readouterr()
    assert "random-seed1: accuracy-resnet8-02-1 failed: RuntimeError: out of memory" in output.err
    assert output.err.count(" failed: ") == 2
    assert "\n| random " in output.out
    assert written(root) == kept
    failures = json.loads((root / "comparison.json").read_text())["failures"]
    assert [f["name"] for f in failures] == [f"random-seed1: accuracy-resnet8-0{i}-1" for i in (2, 1)]
    monkeypatch.undo()
    assert main(command) == 0
    again = written(root)
    assert set(again) == set(written(compared))
    assert {name: again[name] for name in kept} == kept


def toml_lines(name: str, values: dict[str, Any]) -> list[str]:
    """Return the lines of a table and of those below it."""
    plain = [f"{key} = {json.dumps(value)}" for key, value in values.items() if not isinstance(value, dict | None)]
    head = [f"[{name}]"] if name else []
    below = [
        line
        for key, value in values.items()
        if isinstance(value, dict)
        for line in toml_lines(f"{name}.{key}".lstrip("."), value)
    ]
    return [*head, *plain, *below]


def test_a_users_mistake_stops_at_once(
    small: Config, compared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = without_last_cells(compared, tmp_path / "out")
    fail_once(monkeypatch, UserError("wrong everywhere"))
    with pytest.raises(UserError, match="wrong everywhere"):
        compare_methods(small, ["random"], root, runs=2)


def test_all_failed_is_an_error(small: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = with_values(small, {"seed": 1, "stages.increments": 1, "evaluation.redundancy_seeds": 0})
    fail_once(monkeypatch, RuntimeError("broken"))
    with pytest.raises(IncompleteError, match="accuracy-resnet8-01-1: RuntimeError: broken"):
        compare_methods(config, ["random"], tmp_path / "out", runs=1)


def test_an_unknown_architecture_lists_the_known_ones_before_any_file_is_written(small: Config, tmp_path: Path) -> None:
    config = with_values(small, {"evaluation.architectures": ("convnet", "resnet81")})
    with pytest.raises(UserError, match=r"unknown architecture 'resnet81'; did you mean 'resnet8'\? Known: alexnet"):
        compare_methods(config, ["random"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("stored", [False, True])
def test_soft_labels_end_to_end(stored: bool, small: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference teaches; stored labels lie beside the images, and `evaluate` finds them there."""
    config = with_values(
        small,
        {
            "evaluation.protocol": "soft",
            "evaluation.epochs_factor": 0.01,
            "evaluation.teacher.stored": stored,
            "evaluation.architectures": (),
            "evaluation.redundancy_seeds": 0,
        },
    )
    compare_methods(config, ["random"], tmp_path / "out", runs=1)
    run = tmp_path / "out" / "random-seed0"
    cell = json.loads((run / "evaluation/accuracy-convnet-02-0.json").read_text())
    assert cell["epochs"] == 3
    assert (run / "dataset" / "soft_labels.safetensors").exists() == stored
    monkeypatch.setattr("lgd.experiments.evaluate.load_config", lambda name: config)
    if stored:
        assert evaluate(run, "digits", seeds=1)["protocol"]["name"] == "soft"
    else:
        with pytest.raises(UserError, match="soft labels need a teacher"):
            evaluate(run, "digits", seeds=1)


def test_evaluated_at_some_ipc_only(small: Config, compared: Path, tmp_path: Path) -> None:
    """Fewer cells with the same numbers in them; validity is still that of every image."""
    ipc = small.stages.images_per_increment
    every = with_values(small, {"stages.increments": 3, "evaluation.redundancy_seeds": 0})
    full = compare_methods(every, ["random"], tmp_path / "every", 1)[0]["methods"]["random"]
    some = with_values(every, {"evaluation.ipc": (ipc,)})
    few = compare_methods(some, ["random"], tmp_path / "some", 1)[0]["methods"]["random"]
    assert list(few["accuracy"]) == [str(ipc), str(3 * ipc)]
    assert few["accuracy"] == {n: full["accuracy"][n] for n in few["accuracy"]}
    assert few["validity"] == pytest.approx(full["validity"])
    assert len(written(tmp_path / "some")) == 2 / 3 * len(written(tmp_path / "every"))
    with pytest.raises(UserError, match=rf"evaluation.ipc: 999 is none of the increments' {ipc}, {2 * ipc}, {3 * ipc}"):
        with_values(some, {"evaluation.ipc": (999,)})
