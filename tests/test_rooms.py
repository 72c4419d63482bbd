"""Data flows one way: a module imports only from rooms that stand before its own."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lgd

ROOT = Path(lgd.__file__).parent
ROOMS = [
    ["__init__", "errors", "processor"],
    ["files", "mirror", "rng", "config", "console"],
    ["data"],
    ["automatic"],
    ["diffusion"],
    ["classifiers"],
    ["guidance"],
    ["execution"],
    ["distillation"],
    ["evaluation"],
    ["analysis"],
    ["report"],
    ["export"],
    ["runtime"],
    ["generators"],
    ["samples"],
    ["speed"],
    ["assets"],
    ["pipeline"],
    ["comparison"],
    ["ablation"],
    ["commands", "generator_commands", "speed_commands"],
    ["cli"],
    ["__main__"],
]
ORDER = {name: place for place, room in enumerate(ROOMS) for name in room}


def imports(path: Path) -> set[str]:
    """Names of the rooms that a module imports, the lazy exports under TYPE_CHECKING aside."""
    found = set()
    depth = len(path.relative_to(ROOT).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            if node.level == depth:
                names = [node.module] if node.module else [alias.name for alias in node.names]
            elif node.level == 0 and node.module and node.module.split(".")[0] == "lgd":
                names = [node.module.partition(".")[2] or "__init__"]
            else:
                continue
            found |= {(name or "").split(".")[0] for name in names}
    return found - {"__version__"}


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_only_from_earlier_rooms(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if room == "__init__":
        return
    late = {name for name in imports(path) if ORDER[name] > ORDER[room]}
    assert not late, f"{room} must not import from {late}"


@pytest.mark.parametrize("code", ["import lgd", "from lgd.cli import main; main(['--help'])"])
def test_nothing_heavy_at_import(code: str) -> None:
    check = f"{code}\nimport sys; print(sorted({{'torch', 'diffusers', 'matplotlib', 'sklearn'}} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert result.stdout.endswith("[]\n")
