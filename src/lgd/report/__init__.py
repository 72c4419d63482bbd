"""Figures and the HTML page of runs."""

import sys

from lgd import CallablePackage

sys.modules[__name__].__class__ = CallablePackage
