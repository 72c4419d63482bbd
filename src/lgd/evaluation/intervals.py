"""Confidence intervals over runs, and prediction intervals over classifiers."""

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


def prediction_interval(values: Sequence[float], count: int, level: float = LEVEL) -> tuple[float, float] | None:
    """Return Student's interval in which the mean of `count` new values lies; None for fewer than two known ones.

    All are independent, about normal, of one distribution: classifiers that are trained on one set.
    """
    n = len(values)
    if n < 2:
        return None
    half = float(stdtrit(n - 1, (1 + level) / 2)) * stdev(values) * sqrt(1 / n + 1 / count)
    return fmean(values) - half, fmean(values) + half
