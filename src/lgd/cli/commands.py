"""The commands by name, and the module that each one is imported from when it is run."""

from collections.abc import Callable, Sequence
from importlib import import_module

MODULES = {
    "experiments": ("distill", "compare", "evaluate", "ablate", "analyze", "reference", "report", "export", "status"),
    "generator": ("generator",),
    "profiling": ("bench", "plan"),
    "selection": ("select",),
    "support": ("doctor", "completion"),
}
COMMANDS = {name: module for module, names in MODULES.items() for name in names}


def command(name: str) -> Callable[[Sequence[str]], int]:
    """Import a command, one of COMMANDS: a function that takes the arguments and returns the exit code."""
    found: Callable[[Sequence[str]], int] = getattr(import_module(f".{COMMANDS[name]}", __package__), name)
    return found
