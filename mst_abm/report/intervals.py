"""Numbers of several replicates with their 95 % intervals; scipy does the statistics."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LEVEL = 0.95
#: With fewer, the order of replicates holds no interval of a median at that level.
FEWEST = 6


class Interval(NamedTuple):
    """A number and where it lies with 95 % confidence; not a number: too few replicates to say."""

    value: float
    low: float
    high: float


def median_of(values: np.ndarray) -> Interval:
    """The median, its interval from the order of the values alone; infinite values rank last."""
    from scipy.stats import quantile_test

    if not len(values):
        return Interval(np.nan, np.nan, np.nan)
    with np.errstate(invalid="ignore"):
        middle = float(np.median(values))
    if len(values) < FEWEST:
        return Interval(middle, np.nan, np.nan)
    low, high = quantile_test(values, q=middle, p=0.5).confidence_interval(LEVEL)
    return Interval(middle, float(low), float(high))


def share_of(n: int, of: int) -> Interval:
    """A share, by Wilson's score interval."""
    from scipy.stats import binomtest

    if not of:
        return Interval(np.nan, np.nan, np.nan)
    low, high = binomtest(n, of).proportion_ci(LEVEL, method="wilson")
    return Interval(n / of, float(low), float(high))
