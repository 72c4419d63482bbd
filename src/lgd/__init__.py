"""Learnability-guided dataset distillation.

`lgd.distill(config, out)` makes a small synthetic set, `lgd.load(run)` reads it as a torch dataset, and
`lgd.load_config(name)` reads the configuration of a preset. torch is imported when one of them is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from lgd.config import Config
    from lgd.distillation.store import load
    from lgd.errors import UserError
    from lgd.experiments.auto import load_config
    from lgd.experiments.distill import distill

__all__ = ["Config", "UserError", "__version__", "distill", "load", "load_config"]

_HOMES = {
    "Config": ".config",
    "load_config": ".experiments.auto",
    "UserError": ".errors",
    "load": ".distillation.store",
    "distill": ".experiments.distill",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lgd' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
