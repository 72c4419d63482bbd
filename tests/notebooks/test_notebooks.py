"""The notebooks run from top to bottom with a minimum of work, and are kept with the outputs of a real run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib
import pytest
from tests.cli.test_main import toml

from lgd.config import load_config, presets, with_values
from lgd.distillation.methods import METHODS

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def code_cells(path: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


@pytest.fixture
def small_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the preset `digits` by one of narrow networks that train for one epoch."""
    narrow = dict.fromkeys(("reference.width", "judge.width", "learner.width", "evaluation.classifier.width"), 8)
    short = dict.fromkeys(("reference.training.epochs", "judge.training.epochs"), 1)
    file = toml(with_values(load_config("digits"), {**narrow, **short}), tmp_path / "digits.toml")
    known = {**presets(), "digits": file}
    monkeypatch.setattr("lgd.config.checks.presets", lambda: known)


@pytest.mark.usefixtures("small_digits")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cells run as one module __main__, as in a kernel."""
    monkeypatch.setenv("LGD_NOTEBOOK_TEST", "1")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setitem(METHODS, "bold", METHODS["dit"])  # which a notebook replaces: removed afterwards
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    for number, cell in enumerate(code_cells(path)):
        exec(compile("".join(cell["source"]), f"{path.name}, code cell {number}", "exec"), vars(main))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_its_outputs(path: Path) -> None:
    """Every cell was run, in order, without an error; messages of progress are not kept."""
    cells = code_cells(path)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert all(output.get("name") != "stderr" for output in outputs)
    text = path.read_text(encoding="utf-8")
    assert "/tmp" not in text
    assert len(text) < 500_000


def test_there_are_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["analyse_a_set", "digits", "guidance", "own_arrays"]
