"""Which explanations data tell apart: outcomes that a trial would show under each, and how often one is refuted if another holds.

Power here: the share of trials drawn under one hypothesis whose outcome has a tail below 5 % under the other.
"""

from __future__ import annotations

import numpy as np

from mst_abm.clinic.intervals import BOOTSTRAP_SEED, LEVEL
from mst_abm.clinic.targets import BOOTSTRAP, Target, compare


def outcomes(target: Target, values: np.ndarray, n: int) -> np.ndarray:
    """What trials of ``n`` patients would show of a target's endpoint, float64 (draw,).

    ``values``: of simulated patients, nan: never; who was simulated is a draw as well as who would be observed. Shares and
    chances have Jeffreys' prior and the patients' own chances, as `mst_abm.clinic.targets` judges them.
    """
    draw = np.random.Generator(np.random.Philox(key=BOOTSTRAP_SEED))
    m = len(values)
    if target.statistic == "share":
        reached = compare(target, values).simulated * m
        share = draw.beta(reached + 0.5, m - reached + 0.5, BOOTSTRAP)
        return draw.binomial(n, share) / n
    again = values[draw.integers(0, m, (BOOTSTRAP, m))]
    if target.statistic == "chance":
        return draw.binomial(n, again.mean(axis=1)) / n
    known = np.where(np.isnan(again), np.inf, again)
    chosen = np.take_along_axis(known, draw.integers(0, m, (BOOTSTRAP, n)), axis=1)
    middle = np.median if target.statistic == "median" else np.mean
    with np.errstate(invalid="ignore"):
        return np.asarray(middle(chosen, axis=1))


def power(true: np.ndarray, other: np.ndarray) -> float:
    """How often an outcome under ``true`` refutes ``other``, both from `outcomes`."""
    ordered = np.sort(other)
    below = np.searchsorted(ordered, true, side="right") / len(ordered)
    above = 1.0 - np.searchsorted(ordered, true, side="left") / len(ordered)
    return float(np.mean(2.0 * np.minimum(below, above) < 1.0 - LEVEL))
