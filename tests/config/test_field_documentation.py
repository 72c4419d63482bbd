"""Every field of the configuration and every option of a command has a sentence that the command line shows."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

import lgd

ROOT = Path(lgd.__file__).parent
FILES = [path for folder in ("config", "cli") for path in sorted((ROOT / folder).glob("*.py"))]
FIRST_WORDS_TO_AVOID = {"What", "Whoever", "Who", "Of", "From", "To"}


def fields_of(path: Path) -> list[tuple[str, str | None]]:
    """List the fields of a module's dataclasses, each with the string that follows it."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef):
            for statement, following in zip(node.body, [*node.body[1:], None], strict=True):
                if isinstance(statement, ast.AnnAssign):
                    text = following.value if isinstance(following, ast.Expr) else None
                    name = f"{node.name}.{ast.unparse(statement.target)}"
                    found.append((name, str(text.value) if isinstance(text, ast.Constant) else None))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_field_has_a_sentence(path: Path) -> None:
    for name, text in fields_of(path):
        assert text is not None, f"{name} has no documentation"
        first, last = text.split()[0], text.strip()[-1]
        assert last == ".", f"{name}: {text}"
        assert first not in FIRST_WORDS_TO_AVOID, f"{name}: {text}"
        assert first[0].isupper() or first.startswith("safetensors"), f"{name}: {text}"


def test_the_walk_finds_the_fields() -> None:
    found = [name for path in FILES for name, _ in fields_of(path)]
    assert {"GuidanceConfig.omega", "TrainingConfig.epochs", "DistillOptions.out"} <= set(found)
    assert len(found) > 150
    assert import_module("lgd.config").GuidanceConfig.__dataclass_fields__.keys() == {
        name.split(".")[1] for name in found if name.startswith("GuidanceConfig.")
    }
