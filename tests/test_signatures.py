"""House rules of signatures: no function takes more than six parameters."""

from __future__ import annotations

import ast
from pathlib import Path

import lgd

MOST = 6


def test_no_function_takes_more_than_six_parameters() -> None:
    long = []
    for path in sorted(Path(lgd.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                names = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                if len(names) - (names[:1] in (["self"], ["cls"])) > MOST:
                    long.append(f"{path.name}:{node.lineno} {node.name}")
    assert not long
