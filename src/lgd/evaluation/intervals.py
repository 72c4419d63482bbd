"""Confidence intervals over runs."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev

from scipy.special import stdtrit

LEVEL = 0.95


def t_interval(values: Sequence[float], level: float = LEVEL) -> tuple[float, float] | None:
    """Return Student's t interval of the mean of independent, about normal values; None for fewer than two.

    The values are one per run: classifiers of one run share its images, so they are no independent measurements of a
    method. benchmarks/intervals.md has the coverage by simulation.
    """
    n = len(values)
    if n < 2:
        return None
    half = float(stdtrit(n - 1, (1 + level) / 2)) * stdev(values) / sqrt(n)
    return fmean(values) - half, fmean(values) + half
