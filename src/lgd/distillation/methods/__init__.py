"""How the images of one increment come about, by the method's name.

A package adds a method by an entry point of the group `lgd.methods` that names an `lgd.Method`.
"""

from .base import Asset, Method
from .checks import check_method
from .registry import (
    METHODS,
    SURROGATE,
    growth_of,
    is_calibrated,
    method_named,
    methods_used,
    real_image_units,
    recipe_for,
    sections_used,
    seed_config,
    seed_method,
    with_method,
)
from .sampling import import_libraries

__all__ = [
    "METHODS",
    "SURROGATE",
    "Asset",
    "Method",
    "check_method",
    "growth_of",
    "import_libraries",
    "is_calibrated",
    "method_named",
    "methods_used",
    "real_image_units",
    "recipe_for",
    "sections_used",
    "seed_config",
    "seed_method",
    "with_method",
]
