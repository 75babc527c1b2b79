"""How many patients, or how large a patch, a 95 % interval of a wanted width needs.

Intervals of means and medians narrow with the square root of the patients; a share has Wilson's. What differs between
patients no patch can narrow: of a variance B + W, B between patients and W by chance within one, a patch k times
as large leaves B + W / k, for counts of k times as many cells scatter by 1 / k. W is seen where the same patients go
through the same arm twice (``seed`` of an arm).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mst_abm.clinic.arms import Difference, Summary
from mst_abm.clinic.intervals import share_interval

MOST = 10_000_000


@dataclass(frozen=True)
class Need:
    """What an interval of ``wanted`` to either side takes.

    Attributes
    ----------
    now, n : half-width of the interval at hand, and from how many patients it is
    patients : so many would do, patches as they are; nan where it cannot be told
    patch : or patches so many times as large, patients as they are; infinite: none is large enough, nan: not known
    """

    arm: str
    endpoint: str
    statistic: str
    wanted: float
    now: float
    n: int
    patients: float
    patch: float = math.nan
    unit: str = "1"


def need_of(summary: Summary, wanted: float, by_chance: float = math.nan) -> Need:
    """What the interval of a summary takes; ``by_chance``: share of its variance that is chance within a patient."""
    now = (summary.high - summary.low) / 2.0
    if summary.statistic.startswith("share"):
        patients = _patients_for_share(summary.value, wanted)
    else:
        patients = _scaled(summary.n, now, wanted)
    return Need(
        summary.arm, summary.endpoint, summary.statistic, wanted, now, summary.n, patients,
        patch_for(now, wanted, by_chance), summary.unit,
    )  # fmt: skip


def need_of_difference(found: Difference, wanted: float) -> Need:
    """How many pairs the interval of a difference takes."""
    now = (found.high - found.low) / 2.0
    return Need(
        f"{found.arm} - {found.control}", found.endpoint, found.measure, wanted, now, found.n,
        _scaled(found.n, now, wanted), unit=found.unit,
    )  # fmt: skip


def patch_for(now: float, wanted: float, by_chance: float) -> float:
    """How many times as large patches have to be for the same patients to do; nan where it cannot be told."""
    if now <= wanted:
        return 1.0
    if not (np.isfinite(now) and np.isfinite(by_chance)):
        return math.nan
    left = (wanted / now) ** 2 - (1.0 - by_chance)
    return by_chance / left if left > 0 else math.inf


def share_by_chance(one: np.ndarray, again: np.ndarray) -> float:
    """Share of the variance between patients that is chance, from values (patient,) of the same patients twice.

    Half the mean square of what the two differ by, over the variance of all; 1 at most. Not a number for fewer than
    two patients, or where nothing varies.
    """
    n = min(len(one), len(again))
    known = np.isfinite(one[:n]) & np.isfinite(again[:n])
    one, again = one[:n][known], again[:n][known]
    if len(one) < 2:
        return math.nan
    total = (np.var(one, ddof=1) + np.var(again, ddof=1)) / 2.0
    return (
        min(1.0, float(np.mean((one - again) ** 2)) / 2.0 / float(total)) if total > 0 else math.nan
    )


def _scaled(n: int, now: float, wanted: float) -> float:
    if not np.isfinite(now) or n < 2:
        return math.nan
    return float(max(2, math.ceil(n * (now / wanted) ** 2 - 1e-9)))


def _patients_for_share(share: float, wanted: float) -> float:
    """The fewest patients whose Wilson interval around this share is narrow enough."""
    if math.isnan(share):
        return math.nan

    def is_narrow(n: int) -> bool:
        low, high = share_interval(round(share * n), n)
        return (high - low) / 2.0 <= wanted

    enough = 1
    while not is_narrow(enough):
        enough *= 2
        if enough > MOST:
            return math.inf
    few = enough // 2
    while enough - few > 1:
        middle = (few + enough) // 2
        few, enough = (few, middle) if is_narrow(middle) else (middle, enough)
    return float(enough)
