"""Cells of a reservoir through an exchange interval: a branching process of many types with known hazards.

Cells of one state that do something in a step h are binomial with 1 - exp(-a h), a the sum of hazards; what they
do is multinomial. Cells that come about in a step live on for half of it, by the same law, which makes the
mean right to second order in a h. Steps are so short that no cell is expected to do more than 0.05 things.
Numbers are integers at any size. Binomial draws: Hormann 1993, doi:10.1080/00949659308811496 (transformed
rejection); below ten expected, sums of geometric gaps (Devroye 1986, p. 525).
"""

from __future__ import annotations

import math

import numpy as np

from mst_abm.engine import rng
from mst_abm.engine.kernel import driver, keep_apart, kernel
from mst_abm.engine.numbers import exponential, logarithm
from mst_abm.engine.pin import pin
from mst_abm.engine.probes import EVENTS, address_of, is_empty, look
from mst_abm.engine.signals import average_factors

MOST_DONE = 0.05  # things a cell may be expected to do in one step
FEW = 10.0


@kernel
def stirling_tail(k):
    """log k! beyond Stirling's formula."""
    if k < 10:
        x = np.float64(k)
        exact = 1.0
        for i in range(2, k + 1):
            exact *= i
        return logarithm(exact) - (0.9189385332046727 + (x + 0.5) * logarithm(x + 1.0) - (x + 1.0))
    q = (k + 1.0) * (k + 1.0)
    return (1.0 / 12.0 - (1.0 / 360.0 - 1.0 / 1260.0 / q) / q) / (k + 1.0)


@kernel
def few_of(n, p, address, draw):
    """Binomial draw for few expected: gaps between successes are geometric."""
    keep_apart()
    scale = logarithm(1.0 - p)
    found, at = np.int64(0), 0.0
    if not scale < 0.0:
        return found, draw
    while True:
        u, _, _ = rng.detail(
            address.seed, address.replicate, address.window, address.space, draw, rng.RESERVING
        )
        draw += 1
        at += math.floor(logarithm(max(u, 1e-300)) / scale) + 1.0
        if at > n:
            return found, draw
        found += 1


@kernel
def many_of(n, p, address, draw):
    """Binomial draw for p <= 1/2 and at least ten expected."""
    keep_apart()
    spread = math.sqrt(n * p * (1.0 - p))
    b = 1.15 + 2.53 * spread
    a = -0.0873 + 0.0248 * b + 0.01 * p
    centre = n * p + 0.5
    bound = 0.92 - 4.2 / b
    odds = p / (1.0 - p)
    alpha = (2.83 + 5.1 / b) * spread
    mode = np.int64(math.floor((n + 1) * p))
    while True:
        u, v, _ = rng.detail(
            address.seed, address.replicate, address.window, address.space, draw, rng.RESERVING
        )
        draw += 1
        u -= 0.5
        us = 0.5 - abs(u)
        if us <= 0.0:
            continue
        k = np.int64(math.floor((2.0 * a / us + b) * u + centre))
        if us >= 0.07 and v <= bound:
            return k, draw
        if k < 0 or k > n:
            continue
        v = logarithm(v * alpha / (a / (us * us) + b))
        upper = (
            (mode + 0.5) * logarithm((mode + 1.0) / (odds * (n - mode + 1.0)))
            + (n + 1.0) * logarithm((n - mode + 1.0) / (n - k + 1.0))
            + (k + 0.5) * logarithm(odds * (n - k + 1.0) / (k + 1.0))
            + stirling_tail(mode) + stirling_tail(n - mode)
            - stirling_tail(k) - stirling_tail(n - k)
        )  # fmt: skip
        if v <= upper:
            return k, draw


@kernel
def binomial(n, p, address, draw):
    """(binomial number, next draw)."""
    if n <= 0 or p <= 0.0:
        return np.int64(0), draw
    if p >= 1.0:
        return np.int64(n), draw
    q = min(p, 1.0 - p)
    if n * q < FEW:
        k, draw = few_of(n, q, address, draw)
    else:
        k, draw = many_of(n, q, address, draw)
    return k if q == p else n - k, draw


@kernel
def share_out(res, held, numbers, r, s, acting, total, address, draw):
    """Events of cells of one state that act, deed by deed; products join ``numbers``. Returns the next draw."""
    keep_apart()
    rest = total
    last = res.states[s].deed_first
    for d in range(res.states[s].deed_first, res.states[s].deed_last):
        if held.hazard[d] > 0.0:
            last = d
    for d in range(res.states[s].deed_first, last + 1):
        if acting == 0:
            break
        mine = acting
        if d < last:
            mine, draw = binomial(acting, held.hazard[d] / rest, address, draw)
        rest -= held.hazard[d]
        acting -= mine
        if mine == 0:
            continue
        deed = res.deeds[d]
        held.tally[r, deed.tally] += mine
        if deed.state_a >= 0:
            numbers[deed.state_a] += mine
        if deed.state_b >= 0:
            numbers[deed.state_b] += mine
        for out in (deed.out_a, deed.out_b):
            if out >= 0:
                copies = res.outgoing[out].copies
                whole = np.int64(copies)
                more, draw = binomial(mine, copies - whole, address, draw)
                held.owed[r, out] += mine * whole + more
    return draw


@kernel
def total_hazard(res, held, s):
    total = 0.0
    for d in range(res.states[s].deed_first, res.states[s].deed_last):
        total += held.hazard[d]
    return total


@kernel
def live(res, held, r, c, hours, address):
    """The cells of a reservoir through an interval, by the hazards in ``held.hazard``."""
    keep_apart()
    first, last = res.reservoirs[c].state_first, res.reservoirs[c].state_last
    numbers, fresh, totals = held.numbers[r], held.fresh, held.total
    busiest = 0.0
    for s in range(first, last):
        totals[s] = total_hazard(res, held, s)
        busiest = max(busiest, totals[s])
    steps = max(1, math.ceil(busiest * hours / MOST_DONE))
    h = hours / steps
    draw = np.int64(0)
    for _ in range(steps):
        for s in range(first, last):
            fresh[s] = 0
        for s in range(first, last):
            if numbers[s] == 0:
                continue
            total = totals[s]
            acting, draw = binomial(numbers[s], 1.0 - exponential(-total * h), address, draw)
            numbers[s] -= acting
            draw = share_out(res, held, fresh, r, s, acting, total, address, draw)
        for s in range(first, last):
            if fresh[s] == 0:
                continue
            total = totals[s]
            acting, draw = binomial(fresh[s], 1.0 - exponential(-total * h / 2), address, draw)
            numbers[s] += fresh[s] - acting
            draw = share_out(res, held, numbers, r, s, acting, total, address, draw)


@driver
def live_apart(tab, geo, lat, body, rates, res, held, seed, window, hours, first_body, last_body):
    """Reservoirs live through the interval that has just been run, by what their probes saw."""
    tab, geo, lat, body, rates = pin(tab), pin(geo), pin(lat), pin(body), pin(rates)
    res, held = pin(res), pin(held)
    for r in range(first_body, last_body):
        rates.factors[0] = 1.0
        if tab.has_factors:
            average_factors(tab, body, rates, r)
        for c in range(res.reservoirs.shape[0]):
            if is_empty(res, held, r, c):
                continue
            address = address_of(seed, body.progress[r].replicate, window, c, EVENTS)
            _, u, _ = rng.detail(
                seed, address.replicate, window, address.space, 0xFFFFFFFF, rng.RESERVING
            )
            look(tab, geo, lat, body, res, held, held.later, r, c, u)
            for i in range(res.reservoirs[c].outlook_first, res.reservoirs[c].outlook_last):
                held.later[i] = 0.5 * (held.outlook[r, i] + held.later[i])
            first, last = res.reservoirs[c].state_first, res.reservoirs[c].state_last
            for s in range(first, last):
                for d in range(res.states[s].deed_first, res.states[s].deed_last):
                    deed = res.deeds[d]
                    seen = held.later[deed.outlook]
                    held.hazard[d] = deed.base * rates.factors[deed.factor] * seen
            live(res, held, r, c, hours, address)
