"""Where a number of several patients or replicates lies with 95 % confidence; scipy does the statistics.

Shares have Wilson's interval, medians the exact one of order statistics, everything else the percentile bootstrap.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

LEVEL = 0.95
RESAMPLES = 4000
#: Of every bootstrap: the same values have the same interval. Zero would stand for none in SALib.
BOOTSTRAP_SEED = 1
#: With fewer, the order of values holds no interval of a median at that level.
FEWEST = 6


class Interval(NamedTuple):
    """A number and its interval; not a number: too few values to say."""

    value: float
    low: float
    high: float


def share_of(reached: int, of: int) -> Interval:
    """A share with its interval."""
    return Interval(reached / of if of else np.nan, *share_interval(reached, of))


def median_of(values: np.ndarray) -> Interval:
    """The median with its interval, where there are enough values for one; infinite values rank last."""
    if not len(values):
        return Interval(np.nan, np.nan, np.nan)
    with np.errstate(invalid="ignore"):
        middle = float(np.median(values))
    bounds = median_interval(values) if len(values) >= FEWEST else (np.nan, np.nan)
    return Interval(middle, *bounds)


def share_interval(reached: int, of: int) -> tuple[float, float]:
    """Wilson's interval of a share."""
    from scipy.stats import binomtest

    if of == 0:
        return np.nan, np.nan
    found = binomtest(reached, of).proportion_ci(LEVEL, method="wilson")
    return float(found.low), float(found.high)


def median_interval(values: np.ndarray) -> tuple[float, float]:
    """Exact interval of a median by order statistics; infinite values rank last. Open where values are too few."""
    from scipy.stats import quantile_test

    if not len(values):
        return np.nan, np.nan
    found = quantile_test(values, q=0.0, p=0.5).confidence_interval(LEVEL)
    # scipy says nan where no order statistic is far enough out
    low, high = float(found.low), float(found.high)
    return -np.inf if np.isnan(low) else low, np.inf if np.isnan(high) else high


def mean_interval(values: np.ndarray) -> tuple[float, float]:
    """Interval of a mean by the bootstrap."""
    if len(values) < 2:
        return np.nan, np.nan
    return bootstrap_interval((values,), np.mean)


def bootstrap_interval(
    samples: tuple[np.ndarray, ...],
    statistic: Callable[..., Any],
    resamples: int = RESAMPLES,
    **options: Any,
) -> tuple[float, float]:
    """Interval of a statistic by the percentile bootstrap; ``options``: of scipy's."""
    from scipy.stats import bootstrap

    draw: Any = np.random.Generator(np.random.Philox(key=BOOTSTRAP_SEED))
    found = bootstrap(
        samples, statistic, confidence_level=LEVEL, method="percentile", n_resamples=resamples,
        rng=draw, **options,
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)
