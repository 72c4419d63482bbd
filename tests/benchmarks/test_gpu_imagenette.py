"""The script of the comparison on ImageNette: which commands it runs, by an interpreter that only notes them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
INTERPRETER = """\
#!/bin/bash
line=$(printf '%s ' "OUT=$OUT" "$@"); echo "$line" >>"$NOTES"  # in one write, beside another interpreter's
case "$*" in *choose.py*) mkdir -p "${!#}"; echo "guidance.strength=0.066" >"${!#}/chosen.txt" ;; esac
"""


def commands(directory: Path) -> list[str]:
    """Run the script; return what it ran, without the checks of what is installed."""
    interpreter, notes = directory / "python", directory / "notes"
    interpreter.write_text(INTERPRETER)
    interpreter.chmod(0o755)
    notes.write_text("")
    own = {"PATH": "/usr/bin:/bin", "PYTHON": str(interpreter), "NOTES": str(notes), "HOME": os.environ.get("HOME", "")}
    script = str(ROOT / "benchmarks" / "gpu" / "imagenette.sh")
    subprocess.run([script, str(directory / "made"), "600", "sampling.steps=10"], env=own, check=True, timeout=60)
    return [line for line in notes.read_text().splitlines() if ".py" in line]


def test_settings_are_chosen_on_validation_images_before_the_comparison(tmp_path: Path) -> None:
    *first, last = commands(tmp_path)
    (test,) = (line for line in first if "--variant real" in line)  # beside the other two
    validation, choice = (line for line in first if line != test)
    assert "eval_split=validation" in validation
    assert "lgd-anchored-easiest guidance.strength=0.1 " in validation
    assert f"OUT={tmp_path / 'made' / 'validation'} " in validation
    assert "--variant real random,herding" in test
    assert "eval_split" not in test + last
    assert choice.endswith(f"choose.py {tmp_path / 'made' / 'validation'} ")
    assert "hybrid guidance.strength=0.066 --variant real random" in last
    assert f"OUT={tmp_path / 'made' / 'test'} " in last
    assert all("sampling.steps=10" in line for line in (validation, test, last))
    assert ["--variant chosen" in line for line in commands(tmp_path)] == [True]  # goes on where it stopped
