"""Donor cells in blood against what an assay can see, and the release of cytokines after an infusion."""

from __future__ import annotations

import numpy as np

from mst_abm.clinic.course import NEVER, Course, highest
from mst_abm.clinic.observation import latest

#: Smallest donor share that an assay tells from none: short tandem repeats, real-time PCR.
ASSAYS = {"str": 1e-2, "pcr": 1e-4}
RELEASE = 10.0


def share_falls_day(course: Course, name: str, limit: float) -> np.ndarray:
    """First day after its peak on which a share is below a limit."""
    share = course[name]
    peak = np.where(np.isnan(share), -np.inf, share).argmax(axis=1)
    after = np.arange(share.shape[1]) > peak[:, None]
    return np.where(highest(share) > 0, course.first_day((share < limit) & after), NEVER)


def rejection_day(course: Course, name: str = "donor_cells") -> np.ndarray:
    """Day from which a share that PCR had seen is below its limit in every later sample."""
    share = course[name]
    is_seen = share >= ASSAYS["pcr"]
    n = share.shape[1]
    last_seen = np.where(is_seen.any(axis=1), n - 1 - is_seen[:, ::-1].argmax(axis=1), n)
    is_gone = (share < ASSAYS["pcr"]) & (np.arange(n) > last_seen[:, None])
    return course.first_day(is_gone)


def release_hours(course: Course, *, is_end: bool) -> np.ndarray:
    """Hours from the infusion before it to the onset, or the end, of a tenfold cytokine index."""
    times = course.fine_times_h
    is_high = course.finely("cytokine_index") >= RELEASE
    found = np.full(len(is_high), NEVER)
    for row, high in enumerate(is_high):
        onset = high.argmax()
        before = [at for at in course.infusions_h[row] if at <= times[onset]]
        if not high.any() or not before:
            continue
        ends = np.flatnonzero(~high & (np.arange(len(high)) > onset))
        if not is_end:
            found[row] = times[onset] - before[-1]
        elif len(ends) and times[ends[0]] <= course.end_h[row]:
            found[row] = times[ends[0]] - before[-1]
    return found


def days_above(course: Course, name: str, limit: float) -> np.ndarray:
    """Days on which an assay with this limit sees the share."""
    return course.days(latest(course[name]) >= limit)
