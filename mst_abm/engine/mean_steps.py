"""Mean numbers of cells through time: linearly implicit steps with contexts held at their middle.

A step of length h: contexts at its beginning and half a step of backward Euler give those at its middle; with these
held the equations are linear and are solved by the two-stage, L-stable SDIRK method of second order (Alexander 1977,
doi:10.1137/0714068). Fast exchange between compartments thus costs nothing. Stages are solved block by block in the order in
which cells pass through states, each block by Gauss-Seidel sweeps; most blocks are a single state. Numbers, events and levels of
signals obey the same stages, so that events account for every cell. The error is judged by what backward Euler
with the contexts of the beginning gives, which is of first order and errs by more.
"""

from __future__ import annotations

import math

import numpy as np

from mst_abm.engine.kernel import driver, keep_apart, kernel
from mst_abm.engine.mean_rates import count_cells, set_contexts, set_hazards
from mst_abm.engine.pin import pin
from mst_abm.engine.signals import NODE_WEIGHT, law
from mst_abm.engine.status import BAD_RATE, DONE
from mst_abm.engine.tables import NODES

GAMMA = 1.0 - math.sqrt(0.5)
CARRY = (1.0 - GAMMA) / GAMMA
MOST_SWEEPS = 60
CLOSE = 1e-7  # of a number, between two sweeps
GUESSED = 1e-4  # the same where contexts are guessed and errors judged
ROUGH = 0.001  # largest relative error of backward Euler in a step
OF_KIND = 0.02  # numbers are compared with this share of all cells of the type as well
TURNED = 0.25  # things a drug may do to a cell more in one half of a step than in the other


@kernel
def copy_into(target, source):
    for i in range(source.shape[0]):
        target[i] = source[i]


@kernel
def settled(flow, eff, h, b, y, first, last, close):
    """One sweep over a block of states; how it went: 1 settled, 0 not yet, -1 it cannot be solved so."""
    found = 1
    for j in range(first, last):
        total, scale = b[j], 1.0 + h * eff.loss[j]
        if scale < 0.2:
            return -1
        for k in range(flow.into_first[j], flow.into_first[j + 1]):
            total += h * eff.income[k] * y[flow.into_state[k]]
        value = total / scale
        if abs(value - y[j]) > close * abs(value) + 1e-12:
            found = 0
        y[j] = value
    return found


@kernel
def solved(flow, eff, h, b, y, close):
    """Solve y - h A y = b from a guess in y; False if it takes too long. Changes: y."""
    keep_apart()
    for block in range(flow.block_first.shape[0] - 1):
        first, last = flow.block_first[block], flow.block_first[block + 1]
        sweeps, found = 0, 0
        while found == 0:
            found = settled(flow, eff, h, b, y, first, last, close)
            sweeps += 1
            if found < 0 or sweeps == MOST_SWEEPS:
                return False
            if last == first + 1:
                break
    return True


@kernel
def implicit_levels(flow, eff, h, begin, y, counts, levels):
    """Levels after an implicit stage of length h with the cells of its end. Changes: levels, counts."""
    keep_apart()
    count_cells(flow, y, counts)
    for g in range(flow.levels.shape[0]):
        level = flow.levels[g]
        if level.is_given:
            levels[g] = begin[g]
            continue
        income, loss = level.production + eff.added[g], level.clearance
        for i in range(level.gain_first, level.gain_last):
            income += flow.counted[i].rate * counts[flow.counted[i].row]
        for i in range(level.loss_first, level.loss_last):
            loss += flow.counted[i].rate * counts[flow.counted[i].row]
        for i in range(level.event_first, level.event_last):
            e = flow.fed[i].event
            income += flow.fed[i].amount * eff.hazard[e] * y[flow.event_state[e]]
        wanted = begin[g] + h * income
        scale = 1.0 + h * loss
        if level.maximum == 0.0:
            levels[g] = wanted / scale
            continue
        # the positive root of scale s (half + s) + h maximum s = wanted (half + s)
        middle = scale * level.half + h * level.maximum - wanted
        root = math.sqrt(middle * middle + 4.0 * scale * wanted * level.half)
        levels[g] = max((root - middle) / (2.0 * scale), 0.0)


@kernel
def stage(flow, eff, h, b, y, begin, levels, close):
    """One implicit stage for cells and levels."""
    if not solved(flow, eff, h, b, y, close):
        return False
    implicit_levels(flow, eff, h, begin, y, eff.counts, levels)
    return True


@kernel
def misfit(flow, eff, y, rough):
    """Largest relative difference between two solutions, by species and compartment."""
    keep_apart()
    n_species = flow.n_species
    count_cells(flow, y, eff.counts)
    count_cells(flow, rough, eff.seen)
    eff.kin[:] = 0.0
    for row in range(eff.counts.shape[0]):
        eff.kin[flow.kin[row]] += eff.counts[row] / flow.places[row // n_species].share
    worst = 0.0
    for row in range(eff.counts.shape[0]):
        if eff.counts[row] != 0.0 or eff.seen[row] != 0.0:
            share = flow.places[row // n_species].share
            scale = abs(eff.counts[row]) / share + OF_KIND * eff.kin[flow.kin[row]] + 1.0
            worst = max(worst, abs(eff.counts[row] - eff.seen[row]) / share / scale)
    return worst


@kernel
def try_step(flow, eff, h, y, levels):
    """Stages of one step in eff.stages[4] and eff.stage_levels[3]; returns its misfit, -1 if it failed.

    stages: 0 half a step, 1 rough, 2 right hand side, 3 first stage, 4 the end.
    """
    half, rough, b, first, last = (
        eff.stages[0], eff.stages[1], eff.stages[2], eff.stages[3], eff.stages[4]
    )  # fmt: skip
    set_contexts(flow, eff, y, levels)
    if not set_hazards(flow, eff):
        return -2.0
    copy_into(half, y)
    if not stage(flow, eff, 0.5 * h, y, half, levels, eff.stage_levels[0], GUESSED):
        return -1.0
    copy_into(rough, half)
    if not solved(flow, eff, h, y, rough, GUESSED):
        return -1.0
    set_contexts(flow, eff, half, eff.stage_levels[0])
    if not set_hazards(flow, eff):
        return -1.0
    copy_into(first, half)
    if not stage(flow, eff, GAMMA * h, y, first, levels, eff.stage_levels[1], CLOSE):
        return -1.0
    for i in range(1, y.shape[0]):
        b[i] = y[i] + CARRY * (first[i] - y[i])
    b[0] = 1.0
    for g in range(levels.shape[0]):
        eff.stage_levels[2, g] = levels[g] + CARRY * (eff.stage_levels[1, g] - levels[g])
    copy_into(last, rough)
    if not stage(flow, eff, GAMMA * h, b, last, eff.stage_levels[2], eff.stage_levels[3], CLOSE):
        return -1.0
    return misfit(flow, eff, last, rough)


@kernel
def take_step(flow, eff, h, y, levels, tally):
    """Make the step that was tried. Changes: y, levels, tally."""
    keep_apart()
    first, last = eff.stages[3], eff.stages[4]
    for i in range(y.shape[0]):
        mean = h * ((1.0 - GAMMA) * first[i] + GAMMA * last[i])
        for e in range(flow.event_first[i], flow.event_first[i + 1]):
            tally[flow.event_tally[e]] += eff.hazard[e] * mean
    for i in range(1, y.shape[0]):
        y[i] = max(last[i], 0.0)
    for g in range(levels.shape[0]):
        levels[g] = max(eff.stage_levels[3, g], 0.0)


@kernel
def sum_until(edges, sums, at, t, j):
    """Integral of a column up to time t, which lies in interval ``at``; linear within."""
    width = edges[at + 1] - edges[at]
    part = (t - edges[at]) / width if width > 0.0 else 0.0
    return sums[at, j] + (sums[at + 1, j] - sums[at, j]) * part


@kernel
def interval_of(edges, at, t):
    """Number of the interval in which t lies, from ``at`` on."""
    while at + 2 < edges.shape[0] and t >= edges[at + 1]:
        at += 1
    return at


@kernel
def set_given(eff, edges, sums, added, steepest, at, t, h):
    """Mean factors of drugs over [t, t + h]; False if they change too much within it.

    ``sums``: integrals of the factors up to each edge; ``added``: of what drugs add to levels; ``steepest``:
    the largest hazard that a factor multiplies. Changes: eff.given, eff.added.
    """
    keep_apart()
    middle, end = interval_of(edges, at, t + 0.5 * h), interval_of(edges, at, t + h)
    is_even = True
    for f in range(sums.shape[1]):
        a = sum_until(edges, sums, at, t, f)
        b = sum_until(edges, sums, middle, t + 0.5 * h, f)
        c = sum_until(edges, sums, end, t + h, f)
        eff.given[f] = (c - a) / h
        if steepest[f] * abs(c - b - (b - a)) > TURNED:
            is_even = False
    for g in range(added.shape[1]):
        before = sum_until(edges, added, at, t, g)
        eff.added[g] = (sum_until(edges, added, end, t + h, g) - before) / h
    return is_even


@driver
def integrate_factors(flow, edges, given_row, given, sums):
    """Integrals up to each edge of the part of every factor that hangs on given signals alone.

    ``given_row``: row of each signal in ``given`` (interval, row, node), whose last node is the end. Changes: sums.
    """
    flow = pin(flow)
    n_factors = flow.factor_range.shape[0]
    for f in range(n_factors):
        sums[0, f] = 0.0
        is_constant = True
        for term in range(flow.factor_range[f, 0], flow.factor_range[f, 1]):
            if flow.levels[flow.terms[term].signal].is_given:
                is_constant = False
        for w in range(edges.shape[0] - 1):
            mean = 1.0
            if not is_constant:
                mean = 0.0
                for n in range(NODES):
                    value = 1.0
                    for term in range(flow.factor_range[f, 0], flow.factor_range[f, 1]):
                        g = flow.terms[term].signal
                        if flow.levels[g].is_given:
                            x = given[w, given_row[g], n]
                            value *= law(flow, term, x)
                    mean += NODE_WEIGHT[n] * value
            sums[w + 1, f] = sums[w, f] + mean * (edges[w + 1] - edges[w])


@driver
def advance_means(flow, eff, y, levels, tally, edges, sums, added, steepest, t, goal, h, fineness):
    """From t to ``goal``; returns (status, time reached, next step, steps tried).

    ``h``: length of the first step to try; ``fineness``: what ROUGH is multiplied with. Nothing sudden may happen
    before the goal. Changes: y, levels, tally.
    """
    flow, eff = pin(flow), pin(eff)
    at = interval_of(edges, 0, t)
    tried = np.int64(0)
    allowed = ROUGH * fineness
    least = 1e-9 * max(goal, 1.0)
    while t < goal - least:
        at = interval_of(edges, at, t)
        left = goal - t
        step = min(h, left)
        if 0.5 * left < step < left:
            step = 0.5 * left
        is_fine = step <= 0.5 * (edges[at + 1] - edges[at])
        if not set_given(eff, edges, sums, added, steepest, at, t, step) and not is_fine:
            h = 0.5 * step
            continue
        tried += 1
        error = try_step(flow, eff, step, y, levels)
        if error < 0.0 or error > allowed:
            if error == -2.0 or step <= least:
                return BAD_RATE, t, h, tried
            shrunk = 0.25 if error < 0.0 else max(0.9 * math.sqrt(allowed / error), 0.2)
            h = step * shrunk
            continue
        take_step(flow, eff, step, y, levels, tally)
        t = goal if step == left else t + step
        grown = min(0.9 * math.sqrt(allowed / max(error, 1e-300)), 3.0)
        # a step cut short by the goal says little about the next
        h = max(h, step * grown) if step < h else step * grown
    return DONE, goal, h, tried
