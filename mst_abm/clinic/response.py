"""Response of leukaemia, relapse, survival: who was in remission from when to when, and how it ended.

Definitions: docs/endpoints.md. Thresholds are those of the trials (Cheson 2003, doi:10.1200/JCO.2003.04.036).
"""

from __future__ import annotations

import numpy as np

from mst_abm.clinic.course import NEVER, Course, first_run, last
from mst_abm.clinic.observation import DAY_H, latest

REMISSION_BLASTS, REMISSION_ANC, REMISSION_PLATELETS = 0.05, 1.0, 100.0
# Counts still fall for some days after chemotherapy: before this they are no recovery.
RESPONSE_FROM_H = 14 * DAY_H
# One marrow with more blasts may be chance, or a marrow that recovers.
RELAPSE_MARROWS = 2
# Leukaemia that has been there for so long is followed no further where a run stops at relapse.
LOST_D = 28
LOW_ANC, LOW_PLATELETS, MANY_CYTOKINES = 0.5, 20.0, 10.0

RESPONSES = ("persistent disease", "aplasia", "CRi", "CR", "death in aplasia")
PERSISTENT, APLASIA, INCOMPLETE, COMPLETE, DEATH = range(5)


def remission_day(course: Course) -> np.ndarray:
    """Day of complete remission."""
    has_full = (course["anc"] >= REMISSION_ANC) & (course["platelets"] >= REMISSION_PLATELETS)
    return course.first_day(_has_few_blasts(course) & has_full)


def response_day(course: Course) -> np.ndarray:
    """Day of complete remission, or else of remission with incomplete recovery."""
    has_either = (course["anc"] >= REMISSION_ANC) | (course["platelets"] >= REMISSION_PLATELETS)
    incomplete = course.first_day(_has_few_blasts(course) & has_either)
    complete = remission_day(course)
    return np.where(np.isnan(complete), incomplete, complete)


def response(course: Course) -> np.ndarray:
    """Best response, as a place in RESPONSES; not a number if no marrow was ever seen."""
    blasts = last(course["marrow_blasts"])
    found = np.where(blasts < REMISSION_BLASTS, float(APLASIA), float(PERSISTENT))
    found = np.where(np.isnan(blasts), np.nan, found)
    found[~np.isnan(course.death_h)] = DEATH
    found[~np.isnan(response_day(course))] = INCOMPLETE
    found[~np.isnan(remission_day(course))] = COMPLETE
    return found


def relapse_day(course: Course) -> np.ndarray:
    """Day after a response of the first of two marrows with 5 % blasts, or of as many as at a start with leukaemia."""
    start = response_day(course)
    days = course.times_h / DAY_H
    found = np.full(len(start), NEVER)
    for row, blasts in enumerate(course["marrow_blasts"]):
        seen = np.flatnonzero(~np.isnan(blasts) & (days > start[row]))
        high = blasts[seen] >= REMISSION_BLASTS
        first = first_run(high[None], RELAPSE_MARROWS)[0]
        if first >= 0:
            found[row] = days[seen[first]]
    if "blast_cells" in course.series:
        burden = course["blast_cells"]
        was_ill = course["marrow_blasts"][:, :1] >= REMISSION_BLASTS  # not begun in remission
        is_back = (burden >= burden[:, :1]) & was_ill & (burden > 0) & (days > start[:, None])
        found = np.fmin(found, course.first_day(is_back))
    return found


def lost_day(course: Course) -> np.ndarray:
    """Day from which nothing hangs on the cells any more: four weeks of blasts of 5 % or more in every marrow."""
    days = course.times_h / DAY_H
    is_late = course.times_h >= course.chemotherapy_end_h[:, None] + RESPONSE_FROM_H
    is_low = ~(is_late & (course["marrow_blasts"] >= REMISSION_BLASTS))
    last_low = np.maximum.accumulate(np.where(is_low, days, -np.inf), axis=1)
    return course.first_day(days - last_low > LOST_D)


def non_relapse_death_day(course: Course) -> np.ndarray:
    """Day of death in remission."""
    is_free = ~np.isnan(response_day(course)) & np.isnan(relapse_day(course))
    return np.where(is_free, course.death_h / DAY_H, NEVER)


def disease_free_days(course: Course) -> np.ndarray:
    """Days from the response to relapse, death or the end of follow-up; none without response."""
    ends = np.fmin(relapse_day(course), course.end_h / DAY_H)
    return ends - response_day(course)


def disease_free_event(course: Course) -> np.ndarray:
    """1: relapse or death ended it, 0: censored; not a number without response."""
    is_over = ~np.isnan(relapse_day(course)) | ~np.isnan(course.death_h)
    return np.where(np.isnan(response_day(course)), np.nan, is_over.astype(float))


def overall_days(course: Course) -> np.ndarray:
    """Days from the start to death or the end of follow-up."""
    return course.end_h / DAY_H


def overall_event(course: Course) -> np.ndarray:
    """1: died, 0: censored."""
    return (~np.isnan(course.death_h)).astype(float)


def good_days(course: Course) -> np.ndarray:
    """Days without leukaemia in the last marrow, low counts, graft-versus-host disease or cytokine release."""
    is_good = (
        (latest(course["marrow_blasts"]) < REMISSION_BLASTS)
        & (course["anc"] >= LOW_ANC)
        & (course["platelets"] >= LOW_PLATELETS)
    )
    if "cytokine_index" in course.series:
        is_good &= ~(course["cytokine_index"] >= MANY_CYTOKINES)
    if "gvhd" in course.fates:
        is_good &= ~(course.times_h >= course.fates["gvhd"].at_h[:, None])
    return course.days(is_good)


def _has_few_blasts(course: Course) -> np.ndarray:
    is_late = course.times_h >= course.chemotherapy_end_h[:, None] + RESPONSE_FROM_H
    return (course["marrow_blasts"] < REMISSION_BLASTS) & is_late
