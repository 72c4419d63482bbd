"""A directory of results: the configuration that it was made with, the software, and the seconds of each phase."""

import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lgd import __version__
from lgd.config import differences, with_defaults
from lgd.data.stores import waiting
from lgd.errors import UserError
from lgd.progress import log
from lgd.report import events
from lgd.storage.files import read_json, write_json

MOST_LISTED = 5  # fields of two configurations that an error names
LONG_WAIT = 0.05  # share of a phase spent on waiting for image files from which a message tells it


def claim(path: Path, config: dict[str, Any]) -> None:
    """Write the configuration, or compare it with the one written here before. Errors: UserError naming fields."""
    if path.exists():
        there = read_json(path)
        if not isinstance(there, dict):
            raise UserError(f"{path}: corrupt, not a configuration")
        changed = differences(with_defaults(there, config), config)
        if changed:
            more = f"; and {len(changed) - MOST_LISTED} more" if len(changed) > MOST_LISTED else ""
            raise UserError(
                f"{path.parent} was made with another configuration: {'; '.join(changed[:MOST_LISTED])}{more}."
                " Choose another --out, or --overwrite to start anew"
            )
    else:
        write_json(path, config)
        write_json(path.with_name("environment.json"), environment())


@contextmanager
def timed(folder: Path, phase: str) -> Iterator[None]:
    """Add the block's wall time to `seconds.json`, also when it ends in an error; a killed process is not counted.

    The part spent on waiting for image files is recorded, too, and logged where it is long.
    """
    path = folder / "seconds.json"
    start, waited_before = time.monotonic(), waiting.seconds
    try:
        with events.phase(folder, phase):
            yield
    finally:
        seconds = read_json(path) if path.exists() else {}
        taken, waited = time.monotonic() - start, waiting.seconds - waited_before
        seconds[phase] = round(seconds.get(phase, 0.0) + taken, 2)
        if waited:
            name = f"{phase}, waiting for images"
            seconds[name] = round(seconds.get(name, 0.0) + waited, 2)
        write_json(path, seconds)
        if waited >= LONG_WAIT * taken:
            log.info(f"{phase}: {100 * waited / taken:.1f} % of the time waiting for images")


def environment() -> dict[str, str]:
    """Return the versions of software that the bytes of an image may depend on."""
    packages = ("torch", "diffusers", "numpy", "scikit-learn")
    return {
        "lgd": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        **{name: version(name) for name in packages},
    }
