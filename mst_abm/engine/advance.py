"""One call for many intervals of many bodies.

Order of one exchange interval, for each body:

    1. signals at the quadrature nodes, from counts at the start (once: an interval that had to be
       left because a table was full goes on with the same signals)
    2. rates; tops of rate classes, from the species there are
    3. patches, one after another; cells that leave go to outboxes with their times. A patch of many
       tiles is left to the caller, who goes on here afterwards
    4. mixed compartments; cells from outboxes come in at their times
    5. signals at the end
"""

from __future__ import annotations

import numpy as np

from mst_abm.engine.kernel import driver, merged
from mst_abm.engine.lattice import advance_patch
from mst_abm.engine.mixed import advance_mixed
from mst_abm.engine.pin import pin
from mst_abm.engine.signals import (
    average_factors,
    is_cut,
    note_present,
    prepare_rates,
    read_signals,
    set_tops,
)
from mst_abm.engine.status import BAD_RATE, DONE, NEED_TURNS
from mst_abm.engine.tables import NODES


@merged
def advance_interval(
    tab, geo, lat, border, mix, pool, out, body, schedule, rates, draws, scratch, seed, r, w
):
    """One body through one window; resumes at ``body.stage``. Returns a status."""
    begin, end = schedule.edges[w], schedule.edges[w + 1]
    window = schedule.first_window + w
    n_patches = geo.patches.shape[0]
    if body.progress[r].stage < 0:
        body.progress[r].stage = 0
        body.progress[r].candidate = 0
        out.n[r, :] = 0
        out.done[r, :] = 0
        note_present(tab, body, r)
        read_signals(tab, body, schedule, r, w)
    if tab.has_factors:
        average_factors(tab, body, rates, r)
        if not prepare_rates(tab, geo, rates):
            return BAD_RATE
    set_tops(tab, geo, body, rates, r)
    while body.progress[r].stage < n_patches:
        if is_cut(geo, geo.patches[body.progress[r].stage].compartment):
            return NEED_TURNS
        status = advance_patch(
            tab,
            geo,
            lat,
            border,
            pool,
            out,
            body,
            rates,
            draws,
            scratch,
            seed,
            r,
            body.progress[r].stage,
            begin,
            end,
            window,
        )
        if status != DONE:
            return status
        body.progress[r].stage += 1
    if geo.mixed_compartment.shape[0] > 0 or n_patches > 0:
        status = advance_mixed(
            tab, geo, mix, pool, out, body, rates, draws, seed, r, begin, end, window
        )
        if status != DONE:
            return status
    for g in range(tab.signals.shape[0]):
        body.signals[r, g] = body.node_signals[r, NODES, g]
    body.births[r, :] = 0
    body.progress[r].stage = -1
    body.progress[r].window = window
    return DONE


@driver
def advance_bodies(
    tab, geo, lat, border, mix, pool, out, body, schedule, rates, draws, scratch, seed, first_body,
    last_body,
):  # fmt: skip
    """Bodies [first_body, last_body) through the schedule's windows.

    Returns (status, body it stopped at). A body's own progress tells where it goes on.
    """
    tab, geo, lat, border, mix = pin(tab), pin(geo), pin(lat), pin(border), pin(mix)
    pool, out, body, schedule = pin(pool), pin(out), pin(body), pin(schedule)
    rates, draws, scratch = pin(rates), pin(draws), pin(scratch)
    n_windows = schedule.edges.shape[0] - 1
    if not tab.has_factors:
        rates.factors[0] = 1.0
        if not prepare_rates(tab, geo, rates):
            return BAD_RATE, np.int64(first_body)
    for r in range(first_body, last_body):
        for w in range(body.progress[r].window + 1 - schedule.first_window, n_windows):
            status = advance_interval(
                tab, geo, lat, border, mix, pool, out, body, schedule, rates, draws, scratch, seed,
                r, w,
            )  # fmt: skip
            if status != DONE:
                return status, np.int64(r)
    return DONE, np.int64(last_body)
