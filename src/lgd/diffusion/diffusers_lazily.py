"""diffusers, imported when one of its names is first used: that takes five seconds, and many commands need none."""

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    return getattr(import_module("diffusers"), name)
