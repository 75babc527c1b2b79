"""Arms of a trial: what each shows with its interval, and how two differ in the same patients.

Intervals are those of `mst_abm.clinic.intervals`. Every number says how many patients it holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mst_abm.clinic.intervals import mean_interval, median_interval, share_interval
from mst_abm.clinic.survival import (
    ENDS_OF_REMISSION,
    SURVIVAL,
    columns_of,
    incidence_curve,
    outcome,
    share_at,
    survival_curve,
)

#: Days at which survival and incidence are stated, as far as patients were followed.
LANDMARKS_D = (28.0, 60.0, 100.0, 180.0, 365.0, 730.0, 1095.0, 1460.0)


@dataclass(frozen=True)
class Endpoint:
    """What a column of endpoints is: its unit, and what its values 0, 1 ... stand for, if they are classes."""

    name: str
    unit: str = "1"
    categories: tuple[str, ...] = ()

    @property
    def is_chance(self) -> bool:
        """Whether it is a probability of each patient."""
        return self.name.endswith("_probability")

    @property
    def is_reached(self) -> bool:
        """Whether it is when something came, which may be never; a number of days always is."""
        counts = ("_days", "_time", "_hazard")
        is_count = self.name.endswith(counts) or "days_" in self.name or "twist" in self.name
        return self.unit in ("d", "h") and not self.categories and not is_count

    @property
    def is_part_of_survival(self) -> bool:
        """Whether it is one of the pair that makes a survival."""
        base = self.name.removeprefix("true_")
        return any(base in (f"{kind}_time", f"{kind}_event") for kind in SURVIVAL)


@dataclass(frozen=True)
class Summary:
    """One number of an arm with its 95 % interval: from ``n`` of ``of`` patients."""

    arm: str
    endpoint: str
    statistic: str
    value: float
    low: float
    high: float
    n: int
    of: int
    unit: str = "1"
    category: int = -1  # of a share of a class: its place


@dataclass(frozen=True)
class Difference:
    """Arm minus control in the mean of a measure, with its 95 % interval over ``n`` of ``of`` pairs of one patient.

    ``saved``: variance of the difference between as many different patients, over that in pairs; not a number where pairs
    cannot tell.
    """

    arm: str
    control: str
    endpoint: str
    measure: str
    value: float
    low: float
    high: float
    saved: float
    n: int
    of: int
    unit: str = "1"


def summaries(
    arm: str,
    columns: Mapping[str, np.ndarray],
    endpoints: Sequence[Endpoint],
) -> list[Summary]:
    """What an arm shows; ``columns`` float64 (patient,) by endpoint."""
    found: list[Summary] = []
    for endpoint in endpoints:
        is_over_time = endpoint.is_part_of_survival or endpoint.name in ENDS_OF_REMISSION
        if endpoint.name in columns and not is_over_time:
            found += _of_endpoint(arm, endpoint, columns[endpoint.name])
    for name in (*SURVIVAL, *ENDS_OF_REMISSION):
        if columns.keys() >= set(columns_of(name)):
            found += _over_time(arm, columns, name)
    return found


def differences(
    arms: tuple[str, str],
    columns: tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]],
    endpoints: Sequence[Endpoint],
    until_d: float,
) -> list[Difference]:
    """How an arm differs from the control in the patients that both have; who was not reached counts as reached at ``until_d``."""
    found = []
    for endpoint in endpoints:
        if any(endpoint.name not in c for c in columns) or endpoint.categories:
            continue
        values = [c[endpoint.name] for c in columns]
        of = min(map(len, values))
        reached = [~np.isnan(v[:of]) for v in values]
        # where it came in both arms or in neither, pairs do not tell how often it comes in one alone, on which all hangs
        is_open = endpoint.is_reached and not np.all(reached) and np.array_equal(*reached)
        for measure, unit in measures(endpoint):
            one, other = (measured(v[:of], endpoint, measure, until_d) for v in values)
            known = np.isfinite(one) & np.isfinite(other)
            one, other = one[known], other[known]
            apart = one - other
            low, high = mean_interval(apart)
            mean = float(apart.mean()) if len(apart) else np.nan
            saved = np.nan if is_open else saved_by_pairs(one, other)
            found.append(
                Difference(*arms, endpoint.name, measure, mean, low, high, saved, len(apart), of, unit)
            )  # fmt: skip
    return found


def saved_by_pairs(one: np.ndarray, other: np.ndarray) -> float:
    """Variance of a difference between different patients over that in the same ones, values (patient,) of two arms.

    Infinite where all pairs differ by the same; not a number where nothing varies, or there are fewer than two.
    """
    if len(one) < 2:
        return np.nan
    apart, both = np.var(one - other, ddof=1), np.var(one, ddof=1) + np.var(other, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.divide(both, apart))


def _of_endpoint(arm: str, endpoint: Endpoint, values: np.ndarray) -> list[Summary]:
    of = len(values)
    known = values[~np.isnan(values)]
    n = len(known)

    def row(
        statistic: str, value: float, bounds: tuple[float, float], n: int, unit: str, kind: int = -1
    ) -> Summary:
        return Summary(arm, endpoint.name, statistic, value, *bounds, n, of, unit, kind)

    def share(statistic: str, reached: int, among: int, kind: int = -1) -> Summary:
        value = reached / among if among else np.nan
        return row(statistic, value, share_interval(reached, among), among, "1", kind)

    if endpoint.categories:
        return [
            share(f"share {word}", int((known == i).sum()), n, i)
            for i, word in enumerate(endpoint.categories)
        ]
    if endpoint.is_chance:
        mean = float(known.mean()) if n else np.nan
        return [row("mean chance", mean, mean_interval(known), n, "1")]
    if endpoint.is_reached:
        late = np.where(np.isnan(values), np.inf, values)
        middle = float(np.median(late)) if of else np.nan
        median = row("median", middle, median_interval(late), of, endpoint.unit)
        return [share("share reached", n, of), median]
    middle = float(np.median(known)) if n else np.nan
    return [row("median", middle, median_interval(known), n, endpoint.unit)]


def _over_time(arm: str, columns: Mapping[str, np.ndarray], name: str) -> list[Summary]:
    found = outcome(columns, name)
    if not found.n:
        return []  # nobody was ever at risk, as without a remission
    curve = incidence_curve(found) if found.is_competing else survival_curve(found)
    word = "incidence" if found.is_competing else "survival"
    estimates = {day: share_at(found, day) for day in LANDMARKS_D}
    rows = []
    for day, estimate in estimates.items():
        if np.isnan(estimate.value):
            continue
        step = int(np.searchsorted(curve.days, day * (1 + 1e-6) + 1e-6, side="right")) - 1
        low, high = float(curve.low[step]), float(curve.high[step])
        if estimate.value in (0.0, 1.0):
            # Greenwood's variance is none where nothing has happened, or all has
            n = round(estimate.patients)
            low, high = share_interval(round(estimate.value * n), n)
        of = len(columns[columns_of(name)[0]])
        text = f"{word} at day {day:g}"
        rows.append(Summary(arm, name, text, estimate.value, low, high, found.n, of))
    return rows


def measures(endpoint: Endpoint) -> list[tuple[str, str]]:
    """What arms and points are compared in, each with its unit."""
    if endpoint.is_part_of_survival:
        return [("mean", endpoint.unit)]
    if endpoint.is_reached:
        return [("share reached", "1"), ("mean, by the end at most", endpoint.unit)]
    return [("mean", endpoint.unit)]


def measured(values: np.ndarray, endpoint: Endpoint, measure: str, until_d: float) -> np.ndarray:
    """Values (patient,) of a measure; who was not reached counts as reached at ``until_d``."""
    if measure == "share reached":
        return (~np.isnan(values)).astype(float)
    if endpoint.is_reached:
        end = until_d * (24.0 if endpoint.unit == "h" else 1.0)
        return np.where(np.isnan(values), end, np.minimum(values, end))
    return values
