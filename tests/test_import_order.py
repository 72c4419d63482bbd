"""A module imports only from rooms before its own in ROOMS, and no modules import each other in a circle."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import lgd

ROOT = Path(lgd.__file__).parent
ROOMS = [
    ["__init__"],
    ["errors", "rng", "progress"],
    ["storage"],
    ["config"],
    ["data"],
    ["execution"],
    ["diffusion"],
    ["classifiers"],
    ["guidance"],
    ["distillation"],
    ["evaluation"],
    ["analysis"],
    ["report"],
    ["export"],
    ["profiling"],
    ["experiments"],
    ["cli"],
    ["__main__"],
]
ORDER = {name: place for place, room in enumerate(ROOMS) for name in room}
MODULES = sorted(ROOT.rglob("*.py"))


def name_of(path: Path) -> str:
    """Return the dotted name of a module below `lgd`; that of a package ends with `__init__`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


NAMES = {name_of(path) for path in MODULES}


@cache
def tree(path: Path) -> ast.Module:
    """Return the syntax tree of a module."""
    return ast.parse(path.read_text())


@cache
def imports(path: Path) -> set[str]:
    """Return the dotted names, below `lgd`, of the modules that a module imports, also inside functions.

    Every form counts: `from x import y`, `import x`, and `import_module("x")`.
    """
    found = set()
    here = path.relative_to(ROOT).parent.parts
    for node in ast.walk(tree(path)):
        whole = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            whole = [str(argument.value) for argument in node.args if isinstance(argument, ast.Constant)]
        for name in (name.removeprefix("lgd.") for name in whole if name.startswith("lgd.")):
            found.add(name if name in NAMES else f"{name}.__init__")
        if not isinstance(node, ast.ImportFrom):
            continue
        parts = [] if node.module is None else node.module.split(".")
        if node.level:
            parts = [*here[: len(here) - node.level + 1], *parts]
        elif parts[0] == "lgd":
            parts = parts[1:]
        else:
            continue
        for alias in node.names:
            below = ".".join([*parts, alias.name])
            home = ".".join(parts)
            found.add(below if below in NAMES else home if home in NAMES else f"{home}.__init__".strip("."))
    return found


def test_imports_only_from_earlier_rooms() -> None:
    late = {}
    for path in MODULES:
        room = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if room != "__init__":
            late[str(path)] = {name for name in imports(path) if ORDER[name.split(".")[0]] > ORDER[room]}
    assert len(late) > 150
    assert not {path: names for path, names in late.items() if names}


def test_no_import_circle() -> None:
    graph = {name_of(path): imports(path) - {name_of(path)} for path in MODULES if name_of(path) != "__init__"}
    TopologicalSorter(graph).prepare()  # raises CycleError with the circle


def test_short_files() -> None:
    assert not [str(path) for path in MODULES if len(path.read_text().splitlines()) > 300]


POSIX_ONLY = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "termios"}


def test_imports_on_windows() -> None:
    """No module imports at its top what Windows does not have."""
    found = []
    for path in MODULES:
        for node in tree(path).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [(str(path), name) for name in names if name in POSIX_ONLY]
    assert not found


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("import lgd", {"torch", "diffusers", "matplotlib", "sklearn"}),
        ("from lgd.cli.main import main; main(['--help'])", {"torch", "diffusers", "matplotlib", "sklearn"}),
        (
            "import lgd.experiments.api, lgd.experiments.distill, lgd.report.plots, matplotlib; matplotlib.use('svg');"
            "lgd.report.plots.loss_curve([1], [1.0]); assert matplotlib.get_backend() == 'svg'",
            {"diffusers", "transformers", "peft", "matplotlib.pyplot"},
        ),
    ],
)
def test_nothing_heavy_at_import(code: str, heavy: set[str]) -> None:
    """Nor does a figure touch pyplot: a notebook shows its own figures after a run has written its own."""
    check = f"{code}\nimport sys; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert result.stdout.endswith("[]\n")
