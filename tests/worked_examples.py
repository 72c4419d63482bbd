"""The worked examples of the documentation: a file of code, and one line that registers it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"


def worked_example(page: str, heading: str, names: Mapping[str, Any]) -> dict[str, Any]:
    """Run the section's first block of code; return the registry's line in its second block as a dict.

    names: what the registry's module has beside the file's own names.
    """
    section = (DOCS / page).read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    code, line = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    found: dict[str, Any] = {}
    exec(compile(code, f"{page}, {heading}", "exec"), found)
    return eval("{" + line + "}", {**found, **names})
