"""Learnability-guided dataset distillation.

    run = lgd.distill(images, "runs/mine", labels=labels, per_class=10)     # a small synthetic training set
    best = lgd.select(images, labels, per_class=10)                         # or the best of the real images
    data = lgd.load("runs/mine")                                            # a torch dataset
    lgd.evaluate(data, test=(test_images, test_labels))                     # accuracy of networks trained on it

Images are arrays with labels, PIL images, a torch Dataset, a split of `datasets`, or a source such as "folder:PHOTOS".
torch is imported when a function is first used.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from lgd import guidance
    from lgd.config import Config, GuidanceConfig
    from lgd.data.imageset import ImageSet
    from lgd.data.splits import read_images
    from lgd.distillation.methods.base import Method
    from lgd.errors import UserError
    from lgd.experiments.api import analyze, compare, distill, load, report
    from lgd.experiments.auto import load_config
    from lgd.experiments.evaluate import evaluate
    from lgd.experiments.select import ImageSelector, select
    from lgd.export import export

_HOMES = {
    **dict.fromkeys(("Config", "GuidanceConfig"), "config"),
    "ImageSet": "data.imageset",
    "read_images": "data.splits",
    "Method": "distillation.methods.base",
    "UserError": "errors",
    **dict.fromkeys(("analyze", "compare", "distill", "load", "report"), "experiments.api"),
    "load_config": "experiments.auto",
    "export": "export",
    "evaluate": "experiments.evaluate",
    **dict.fromkeys(("ImageSelector", "select"), "experiments.select"),
    "guidance": "guidance",
}
"""module of each public name"""

__all__ = [
    "Config",
    "GuidanceConfig",
    "ImageSelector",
    "ImageSet",
    "Method",
    "UserError",
    "__version__",
    "analyze",
    "compare",
    "distill",
    "evaluate",
    "export",
    "guidance",
    "load",
    "load_config",
    "read_images",
    "report",
    "select",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lgd' has no attribute {name!r}", name=name, obj=sys.modules[__name__])
    module = import_module(f".{_HOMES[name]}", __name__)
    return module if name == _HOMES[name] else getattr(module, name)


class CallablePackage(ModuleType):
    """A subpackage with the name of a public function: calling `lgd.export` calls that function."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        name = self.__name__.rpartition(".")[2]
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)(*arguments, **named)


def __dir__() -> list[str]:
    return __all__
