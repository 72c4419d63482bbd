"""How the images of one increment come about, by the method's name."""

from .base import Method
from .registry import METHODS, check_method, method_named, seed_config, with_method

__all__ = ["METHODS", "Method", "check_method", "method_named", "seed_config", "with_method"]
