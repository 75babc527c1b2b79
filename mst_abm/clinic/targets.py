"""What a trial or a series of patients has shown, and how surprising it is if the model holds.

A target is an observation at its own size: 12 remissions of 28, a median of 16 days in 28 patients. It
is judged by its posterior predictive tail probability: how often as many patients, drawn from the
simulated ones, would show something at least as far out. Shares: beta-binomial with Jeffreys' prior.
Chances, medians, means: patients drawn with replacement. Source: Gelman et al. 2013, Bayesian Data Analysis, chapter 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mst_abm.clinic.survival import Outcome, share_at

BOOTSTRAP = 4000
INTERVAL = (0.025, 0.975)
#: Shares of patients on a day, of which some may have been lost sight of before.
OVER_TIME = ("survival", "incidence")


@dataclass(frozen=True)
class Target:
    """One observation.

    Attributes
    ----------
    arm, endpoint : where the simulated value comes from
    statistic : "share" (of patients who reach the endpoint, or whose value lies between ``above`` and
        ``below``), "chance" (the endpoint is a probability of each patient), "median", "mean", "survival" or
        "incidence" (share of patients on day ``at_d``, with censoring)
    value : observed; of a share the number of patients
    of : patients observed; 0 where only a range is known
    low, high : range that the simulated value should lie in, where ``of`` is 0
    above, below : bounds of a share
    fitted : "yes" if numbers of the model were fitted to it, "seen" if some were chosen when it was known
    """

    name: str
    arm: str
    endpoint: str
    statistic: str
    value: float
    of: int = 0
    low: float = -np.inf
    high: float = np.inf
    above: float | None = None
    below: float | None = None
    fitted: str = "no"
    unit: str = "1"
    source: str = ""
    at_d: float = np.nan

    @property
    def is_share(self) -> bool:
        """Whether its numbers are shares of patients."""
        return self.statistic in ("share", "chance", *OVER_TIME)


@dataclass(frozen=True)
class Comparison:
    """A target beside the simulated value, its 95 % interval and the tail probability (nan: none)."""

    target: Target
    simulated: float
    low: float
    high: float
    tail: float
    patients: int

    @property
    def is_met(self) -> bool:
        """Within the range, or not surprising at the 5 % level."""
        if self.target.of:
            return self.tail >= 0.05
        return bool(self.target.low <= self.simulated <= self.target.high)


def compare(target: Target, values: np.ndarray, seed: int = 1) -> Comparison:
    """Judge a target by the endpoint of simulated patients, float64 (patient,), nan: never."""
    if target.statistic in ("share", "chance"):
        return _share(target, values, seed)
    return _location(target, values, seed)


def compare_over_time(target: Target, found: Outcome) -> Comparison:
    """Judge a share on a day by the product-limit or Aalen-Johansen estimate of simulated patients.

    It counts as as many patients as would give its variance were none of them censored; where none is, this is
    the judgement of a share.
    """
    estimate = share_at(found, target.at_d)
    if np.isnan(estimate.value):
        return Comparison(target, np.nan, np.nan, np.nan, np.nan, found.n)
    reached = estimate.value * estimate.patients
    return _binomial(target, reached, estimate.patients, estimate.value, found.n)


def _share(target: Target, values: np.ndarray, seed: int) -> Comparison:
    from scipy.stats import binom

    n = len(values)
    if target.statistic == "chance":
        # a patient's chance is known; what is not is who comes
        draw = np.random.Generator(np.random.Philox(key=seed))
        again = values[draw.integers(0, n, (BOOTSTRAP, n))].mean(axis=1)
        low, high = np.quantile(again, INTERVAL)
        predicted = binom(target.of, again)
    else:
        reached = ~np.isnan(values)  # infinite is reached: nothing left
        if target.above is not None:
            reached &= values >= target.above
        if target.below is not None:
            reached &= values < target.below
        share = float(reached.mean()) if n else np.nan
        return _binomial(target, float(reached.sum()), n, share, n)
    simulated = float(values.mean()) if n else np.nan
    return Comparison(target, simulated, float(low), float(high), _tail(target, predicted), n)


def _binomial(target: Target, reached: float, of: float, share: float, n: int) -> Comparison:
    """A share with Jeffreys' prior."""
    from scipy.stats import beta, betabinom

    a, b = reached + 0.5, of - reached + 0.5
    low, high = beta.ppf(INTERVAL, a, b)
    tail = _tail(target, betabinom(target.of, a, b))
    return Comparison(target, share, float(low), float(high), tail, n)


def _tail(target: Target, predicted: Any) -> float:
    """How often as many patients would show as few, or as many; nan where only a range is known."""
    if not target.of:
        return np.nan
    below, above = predicted.cdf(target.value), predicted.sf(target.value - 1)
    return _two_sided(float(np.mean(below)), float(np.mean(above)))


def _location(target: Target, values: np.ndarray, seed: int) -> Comparison:
    """Median or mean; patients who never get there rank last."""
    known = np.where(np.isnan(values), np.inf, values)
    if not len(known):
        return Comparison(target, np.nan, np.nan, np.nan, np.nan, 0)
    middle = np.median if target.statistic == "median" else np.mean
    draw = np.random.Generator(np.random.Philox(key=seed))
    n = len(known)
    with np.errstate(invalid="ignore"):
        again = middle(known[draw.integers(0, n, (BOOTSTRAP, n))], axis=1)
        low, high = np.quantile(again, INTERVAL, method="closest_observation")
        tail = np.nan
        if target.of:
            # who was simulated is a draw as well as who was observed
            sample = known[draw.integers(0, n, (BOOTSTRAP, n))]
            chosen = draw.integers(0, n, (BOOTSTRAP, target.of))
            others = middle(np.take_along_axis(sample, chosen, axis=1), axis=1)
            tail = _two_sided(np.mean(others <= target.value), np.mean(others >= target.value))
        return Comparison(target, float(middle(known)), float(low), float(high), tail, n)


def _two_sided(below: float, above: float) -> float:
    return float(min(1.0, 2.0 * min(below, above)))
