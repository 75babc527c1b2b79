"""What happened to patients between samples: laboratory series, what befell them, and questions one can ask of both.

A sample holds until the next. Values that were not measured, or would have been after death, are
not a number, and no condition holds for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from mst_abm.clinic.hazards import Fate
from mst_abm.clinic.observation import DAY_H, latest

NEVER = np.nan
#: Given platelets count as the patient's own no earlier than this.
SUPPORT_H = 7 * DAY_H


@dataclass(frozen=True)
class Course:
    """The patients of a run, one replicate a row.

    Parameters
    ----------
    times_h : (sample,), increasing
    series : (replicate, sample) of every observable
    chemotherapy_end_h : (replicate,) end of the first course
    infusions_h, transfusions_h : by replicate, when cells of the donor, and platelets, were given
    fates : what befell the patients, by hazard
    fine_times_h, fine : the same series as of `series`, those that are also known between samples
    """

    times_h: np.ndarray
    series: Mapping[str, np.ndarray]
    chemotherapy_end_h: np.ndarray
    infusions_h: Sequence[Sequence[float]]
    transfusions_h: Sequence[Sequence[float]]
    fates: Mapping[str, Fate] = field(default_factory=dict)
    fine_times_h: np.ndarray = field(default_factory=lambda: np.zeros(0))
    fine: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __getitem__(self, name: str) -> np.ndarray:
        """A series up to death."""
        return self._living[name]

    @cached_property
    def _living(self) -> dict[str, np.ndarray]:
        is_over = self.times_h > self.end_h[:, None]
        return {name: np.where(is_over, np.nan, values) for name, values in self.series.items()}

    def finely(self, name: str) -> np.ndarray:
        """A series at `fine_times_h` up to death."""
        return np.where(self.fine_times_h > self.end_h[:, None], np.nan, self.fine[name])

    @cached_property
    def death_h(self) -> np.ndarray:
        """(replicate,) time of death; not a number: alive at the end."""
        arrays = [*self.series.values(), *(fate.at_h for fate in self.fates.values())]
        n = len(arrays[0])
        deaths = [fate.at_h for fate in self.fates.values() if fate.hazard.is_fatal]
        return np.fmin.reduce([np.full(n, NEVER), *deaths])

    @cached_property
    def end_h(self) -> np.ndarray:
        """(replicate,) end of follow-up: death, or the last sample."""
        return np.fmin(self.death_h, self.times_h[-1])

    @cached_property
    def spans_d(self) -> np.ndarray:
        """(replicate, sample) days for which each sample holds; none at the end of follow-up."""
        ends = np.minimum(np.append(self.times_h[1:], self.times_h[-1]), self.end_h[:, None])
        return np.maximum(ends - self.times_h, 0.0) / DAY_H

    def days(self, is_met: np.ndarray) -> np.ndarray:
        """(replicate,) days on which a condition (replicate, sample) held."""
        return (self.spans_d * is_met).sum(axis=1)

    def first_day(self, is_met: np.ndarray) -> np.ndarray:
        """(replicate,) day since the start on which a condition held first; never: not a number."""
        return np.where(is_met.any(axis=1), self.times_h[is_met.argmax(axis=1)] / DAY_H, NEVER)


def first_run(is_met: np.ndarray, length: int) -> np.ndarray:
    """First column from which a condition holds ``length`` columns on end; -1 if none does."""
    n_rows, n = is_met.shape
    start = np.full(n_rows, -1)
    for column in range(n - length, -1, -1):
        window = is_met[:, column : column + length]
        start = np.where(window.all(axis=1), column, start)
    return start


def recovery_days(course: Course, name: str, level: float, run: int) -> np.ndarray:
    """Days from the end of chemotherapy to lasting recovery; never if it did not fall, or not rise."""
    series = course[name]
    is_low = series < level
    after = np.arange(series.shape[1]) > is_low.argmax(axis=1)[:, None]
    is_met = (series >= level) & after
    if name == "platelets":
        is_met &= ~_is_supported(course)
    start = first_run(is_met, run)
    day = (course.times_h[start] - course.chemotherapy_end_h) / DAY_H
    return np.where((start >= 0) & is_low.any(axis=1), day, NEVER)


def _is_supported(course: Course) -> np.ndarray:
    """(replicate, sample): platelets were given in the week before."""
    return np.array(
        [
            np.any([(course.times_h >= at) & (course.times_h < at + SUPPORT_H) for at in given], 0)
            if given
            else np.zeros(len(course.times_h), bool)
            for given in course.transfusions_h
        ]
    )


def lowest(values: np.ndarray) -> np.ndarray:
    """(replicate,) smallest value measured; not a number if none was."""
    return _extreme(values, np.min, np.inf)


def highest(values: np.ndarray) -> np.ndarray:
    """(replicate,) largest value measured; not a number if none was."""
    return _extreme(values, np.max, -np.inf)


def _extreme(values: np.ndarray, reduce: Callable[..., np.ndarray], neutral: float) -> np.ndarray:
    is_known = ~np.isnan(values)
    found = reduce(np.where(is_known, values, neutral), axis=1)
    return np.where(is_known.any(axis=1), found, np.nan)


def last(values: np.ndarray) -> np.ndarray:
    """(replicate,) last value measured; not a number if none was."""
    return latest(values)[:, -1]
