"""Times to events of many patients: survival with censoring, incidence where another event rules it out.

The estimates are those of lifelines (extra ``statistics``): product limit (Kaplan and Meier 1958) with Greenwood's
variance and bounds of log(-log S), Aalen and Johansen 1978, log-rank test, Cox's hazard ratio.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mst_abm.extras import needs

CENSORED, HAPPENED, RULED_OUT = 0, 1, 2
#: Kinds of survival: pairs of columns NAME_time, NAME_event; and what ends remission, one ruling out the other.
SURVIVAL = ("os", "dfs")
ENDS_OF_REMISSION = {"relapse": "non_relapse_death", "non_relapse_death": "relapse"}
#: Share of the tied times by which the second of two is moved; order of tied events does not change an incidence.
TIE = 1e-9
#: A hazard ratio beyond this, or its inverse, is that of arms of which one was over before the other began.
SEPARATE = 1e4


@dataclass(frozen=True)
class Outcome:
    """When something happened to patients.

    Attributes
    ----------
    times_d : float64 (patient,), days to the event or to the end of follow-up
    causes : int64 (patient,), ``CENSORED``, ``HAPPENED`` or ``RULED_OUT`` by another event
    patients : int64 (patient,), places of these patients in the columns they were read from
    """

    name: str
    times_d: np.ndarray
    causes: np.ndarray
    patients: np.ndarray

    @property
    def n(self) -> int:
        return len(self.times_d)

    @property
    def is_competing(self) -> bool:
        """Whether another event can rule this one out."""
        return self.name not in SURVIVAL


@dataclass(frozen=True)
class Estimate:
    """A share of patients on a day: value, variance, and as how many uncensored patients it counts."""

    value: float
    variance: float
    patients: float


@dataclass(frozen=True)
class Curve:
    """A share of patients over time with 95 % bounds; steps at ``days`` (step,)."""

    days: np.ndarray
    share: np.ndarray
    low: np.ndarray
    high: np.ndarray


def columns_of(name: str) -> tuple[str, ...]:
    """Endpoints that an outcome is read from; ``true_`` in front of it stands before each of them."""
    prefix, name = _split(name)
    if name in SURVIVAL:
        found: tuple[str, ...] = (f"{name}_time", f"{name}_event")
    elif name in ENDS_OF_REMISSION:
        found = ("dfs_time", "dfs_event", name)
    else:
        found = (name, "os_time", "os_event")
    return tuple(prefix + column for column in found)


def outcome(columns: Mapping[str, np.ndarray], name: str, *, origin_d: float = 0.0) -> Outcome:
    """An outcome from endpoints, float64 (patient,) each; patients who were never at risk are left out.

    "os" and "dfs" are survival; "relapse" and "non_relapse_death" count from the response and rule each other out;
    any other endpoint is a day, which death rules out. ``origin_d``: when the days of such an endpoint begin.
    """
    _, base = _split(name)
    first, second, *more = (np.asarray(columns[c], float) for c in columns_of(name))
    if base in SURVIVAL:
        times, causes = first, np.where(second > 0, HAPPENED, CENSORED)
    elif base in ENDS_OF_REMISSION:
        ends = np.where(np.isnan(more[0]), RULED_OUT, HAPPENED)
        times, causes = first, np.where(second > 0, ends, CENSORED)
    else:
        lived, died = second - origin_d, more[0] > 0
        times = np.where(np.isnan(first), lived, first)
        ends = np.where(died, RULED_OUT, CENSORED)
        causes = np.where(np.isnan(first), ends, HAPPENED)
    at_risk = np.flatnonzero(~np.isnan(times))
    return Outcome(base, np.maximum(times[at_risk], 0.0), causes[at_risk], at_risk)


def survival_curve(found: Outcome) -> Curve:
    """Share of patients to whom nothing has happened yet."""
    fit = _product_limit(found)
    bounds = fit.confidence_interval_.to_numpy()
    share = fit.survival_function_.iloc[:, 0].to_numpy()
    days = fit.survival_function_.index.to_numpy(float)
    return Curve(days, share, bounds.min(axis=1), bounds.max(axis=1))


def incidence_curve(found: Outcome, cause: int = HAPPENED) -> Curve:
    """Share of patients to whom it has happened, where another event may have come first."""
    fit = _incidence(found, cause)
    if fit is None:
        days = np.array([0.0, found.times_d.max(initial=0.0)])
        return Curve(days, np.zeros(2), np.zeros(2), np.full(2, np.nan))
    share = fit.cumulative_density_.iloc[:, 0].to_numpy()
    bounds = fit.confidence_interval_.to_numpy()
    days = fit.cumulative_density_.index.to_numpy(float)
    return Curve(days, share, bounds.min(axis=1), bounds.max(axis=1))


def share_at(found: Outcome, day: float) -> Estimate:
    """Share alive (of survival) or afflicted (of an incidence) on a day; not a number where nobody was followed so long.

    ``patients`` is share (1 - share) / variance: the number of patients, where nobody was censored before.
    """
    causes, times = found.causes, found.times_d
    is_known = (times >= day) | (causes != CENSORED)
    still_there = bool((times >= day).any())
    if not found.n or not (still_there or (causes != CENSORED).all()):
        return Estimate(np.nan, np.nan, 0.0)
    if found.is_competing:
        fit = _incidence(found, HAPPENED)
        value, variance = (
            (0.0, 0.0)
            if fit is None
            else (_last(fit.cumulative_density_.iloc[:, 0], day), _last(fit.variance_, day))
        )
    else:
        fit = _product_limit(found)
        value = float(fit.predict(day))
        # Greenwood: the sum of d / (n (n - d)) up to this day
        variance = value**2 * _greenwood(fit, day)
    spread = value * (1.0 - value)
    n = spread / variance if variance > 0 and spread > 0 else float(is_known.sum())
    return Estimate(value, variance, min(n, float(found.n)))


def at_risk(found: Outcome, days: np.ndarray) -> np.ndarray:
    """int64 (day,): patients followed so far without an event before."""
    return (found.times_d[None, :] >= np.asarray(days)[:, None] - 1e-9).sum(axis=1)


def log_rank(one: Outcome, other: Outcome) -> tuple[float, float]:
    """Statistic (chi-squared with one degree of freedom) and p of the log-rank test between two arms."""
    result = _lifelines().statistics.logrank_test(
        one.times_d, other.times_d, one.causes == HAPPENED, other.causes == HAPPENED
    )
    return float(result.test_statistic), float(result.p_value)


def hazard_ratio(one: Outcome, other: Outcome) -> tuple[float, float, float]:
    """Hazard in ``one`` over that in ``other`` with 95 % bounds, by Cox's model.

    Not numbers without events in both, or where one arm's all come before the other's, for then there is no finite ratio.
    Patients of the same place are the same patient: bounds are those of clusters (Lin and Wei 1989).
    """
    if not ((one.causes == HAPPENED).any() and (other.causes == HAPPENED).any()):
        return np.nan, np.nan, np.nan
    import pandas

    lifelines = _lifelines()
    table = pandas.DataFrame(
        {
            "days": np.concatenate([one.times_d, other.times_d]),
            "event": np.concatenate([one.causes, other.causes]) == HAPPENED,
            "arm": np.repeat([1.0, 0.0], [one.n, other.n]),
            "patient": np.concatenate([one.patients, other.patients]),
        }
    )
    with warnings.catch_warnings():
        # of clusters and of arms that are nearly separate: both are seen in the bounds
        warnings.simplefilter("ignore")
        try:
            fit = lifelines.CoxPHFitter().fit(table, "days", "event", cluster_col="patient")
        except (lifelines.exceptions.ConvergenceError, ValueError):
            return np.nan, np.nan, np.nan
    ratio = float(fit.hazard_ratios_["arm"])
    if not 1.0 / SEPARATE < ratio < SEPARATE:
        return np.nan, np.nan, np.nan
    low, high = np.exp(fit.confidence_intervals_.loc["arm"].to_numpy())
    return ratio, float(low), float(high)


def require_statistics() -> None:
    """MissingPackageError where the extra is not installed: said before hours of work."""
    _lifelines()


def _split(name: str) -> tuple[str, str]:
    base = name.removeprefix("true_")
    return name[: len(name) - len(base)], base


def _product_limit(found: Outcome) -> Any:
    fitter = _lifelines().KaplanMeierFitter()
    return fitter.fit(found.times_d, found.causes == HAPPENED)


def _incidence(found: Outcome, cause: int) -> Any:
    """The Aalen-Johansen fit; None where it never happened, which has no variance."""
    if not (found.causes == cause).any():
        return None
    fitter = _lifelines().AalenJohansenFitter()
    return fitter.fit(_untied(found), found.causes, event_of_interest=cause)


def _untied(found: Outcome) -> np.ndarray:
    """Times in which events of one day follow on each other, and censoring on them.

    The fitter would break ties with random numbers of the whole process. The order is of no consequence: two events
    among n give 1/n and (n-1)/n 1/(n-1), which is the same.
    """
    order = np.lexsort((found.causes == CENSORED, found.times_d))
    times = found.times_d[order]
    is_new = np.concatenate([[True], times[1:] != times[:-1]])
    place = np.arange(len(times))
    nth = place - np.maximum.accumulate(np.where(is_new, place, 0))
    untied = np.empty_like(times)
    untied[order] = times + nth * TIE * np.maximum(1.0, times)
    return untied


def _greenwood(fit: Any, day: float) -> float:
    table = fit.event_table
    table = table[table.index <= day + 1e-9]
    lost, n = table["observed"].to_numpy(float), table["at_risk"].to_numpy(float)
    open_ = (lost > 0) & (n > lost)
    return float((lost[open_] / (n[open_] * (n[open_] - lost[open_]))).sum())


def _last(series: Any, day: float) -> float:
    """The value of a step function on a day; ties were spread over a little more than the day."""
    before = series[series.index <= day * (1 + 1e-6) + 1e-6]
    return float(before.iloc[-1]) if len(before) else 0.0


def _lifelines() -> Any:
    return needs("lifelines", "statistics", "survival analysis")
