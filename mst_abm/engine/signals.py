"""Signals over an exchange interval, and the rates that follow from them.

    ds/dt = P - L s - m s/(h + s),   P = production + sum(rate c),  L = clearance + sum(rate c)

with counts c held at the start of the interval. Without the saturable part s is known in closed
form; with it a fourth-order Runge-Kutta step is taken between nodes. A rate's signal factor is the
mean over the interval of the product of its laws, by four-point Gauss-Legendre quadrature
of the hazard itself, so that a drug whose level falls within the interval is neither read at its left
edge nor averaged before the law is applied.
"""

from __future__ import annotations

import numpy as np

from mst_abm.engine.kernel import keep_apart, kernel
from mst_abm.engine.numbers import exponential, logarithm, power
from mst_abm.engine.tables import (
    DYNAMIC,
    EXPONENTIAL,
    HILL,
    INVERSE_HILL,
    LINEAR,
    NODES,
    STEP,
)

#: Gauss-Legendre on [0, 1]; Abramowitz and Stegun 25.4.30.
NODE = np.array([0.06943184420297371, 0.33000947820757187, 0.6699905217924281, 0.9305681557970263])
NODE_WEIGHT = np.array(
    [0.17392742256872692, 0.32607257743127307, 0.32607257743127307, 0.17392742256872692]
)
RUNGE_KUTTA_STEPS = 8


@kernel
def hill_share(x, half, p):
    """x^p / (x^p + half^p), odd in x."""
    if x == 0.0:
        return 0.0
    if abs(x) < 1e-150 * half:
        return 0.0
    share = 1.0 / (1.0 + power(half / abs(x), p))
    return share if x > 0.0 else -share


@kernel
def law(tab, term, x):
    """Value of a modifier's law at x (formulas: `mst_abm.model.definition.Shape`)."""
    keep_apart()
    kind = tab.terms[term].kind
    p = tab.terms[term]
    if kind == HILL or kind == INVERSE_HILL:
        share = hill_share(x - p.p4, p.p2, p.p3)
        if kind == INVERSE_HILL:
            share = 1.0 - share
        if tab.terms[term].geometric:
            return exponential((1.0 - share) * logarithm(p.p0) + share * logarithm(p.p1))
        return p.p0 + (p.p1 - p.p0) * share
    if kind == LINEAR:
        return min(max(p.p0 + p.p1 * x, p.p2), p.p3)
    if kind == STEP:
        return p.p1 if x < p.p0 else p.p2
    if kind == EXPONENTIAL:
        return p.p0 * (1.0 - exponential(-x / p.p1))
    first, last = tab.terms[term].first, tab.terms[term].last - 1
    if x <= tab.law[first, 0]:
        return tab.law[first, 1]
    for i in range(first, last):
        if x < tab.law[i + 1, 0]:
            slope = (tab.law[i + 1, 1] - tab.law[i, 1]) / (tab.law[i + 1, 0] - tab.law[i, 0])
            return tab.law[i, 1] + slope * (x - tab.law[i, 0])
    return tab.law[last, 1]


@kernel
def counted(tab, body, r, i):
    """Simulated cells a count reference stands for, times its rate per cell."""
    keep_apart()
    mask = tab.pattern_mask[tab.count_terms[i].pattern]
    row = body.counts[r, tab.count_terms[i].compartment]
    total = np.int64(0)
    for s in range(1, tab.n_species):
        if mask[s]:
            total += row[s]
    cells = np.float64(total)
    if body.held.shape[2] > 1:
        held = body.held[r, tab.count_terms[i].compartment]
        for s in range(1, tab.n_species):
            if mask[s]:
                cells += held[s]
    return cells * tab.count_terms[i].rate


@kernel
def slope(s, income, loss, maximum, half):
    return income - loss * s - maximum * s / (half + s)


@kernel
def stepped(s, h, income, loss, maximum, half):
    """A signal after time h; closed form, or Runge-Kutta where clearance saturates."""
    keep_apart()
    if maximum == 0.0:
        if loss * h < 1e-12:
            return s + income * h
        goal = income / loss
        return goal + (s - goal) * exponential(-loss * h)
    d = h / RUNGE_KUTTA_STEPS
    for _ in range(RUNGE_KUTTA_STEPS):
        k1 = slope(s, income, loss, maximum, half)
        k2 = slope(s + 0.5 * d * k1, income, loss, maximum, half)
        k3 = slope(s + 0.5 * d * k2, income, loss, maximum, half)
        k4 = slope(s + d * k3, income, loss, maximum, half)
        s = max(s + d / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4), 0.0)
    return s


@kernel
def read_signals(tab, body, schedule, r, w):
    """Every signal at the nodes and at the end of window ``w`` of the schedule.

    Changes: body.node_signals.
    """
    keep_apart()
    h = schedule.edges[w + 1] - schedule.edges[w]
    for g in range(tab.signals.shape[0]):
        if tab.signals[g].kind != DYNAMIC:
            for n in range(NODES + 1):
                row = tab.signals[g].given
                body.node_signals[r, n, g] = schedule.given[schedule.plan[r], w, row, n]
            continue
        income, loss = tab.signals[g].production, tab.signals[g].clearance
        for i in range(tab.signals[g].yield_first, tab.signals[g].yield_last):
            income += counted(tab, body, r, i)
        for i in range(tab.signals[g].clear_first, tab.signals[g].clear_last):
            loss += counted(tab, body, r, i)
        maximum, half = tab.signals[g].maximum, tab.signals[g].half
        s, at = body.signals[r, g], 0.0
        for n in range(NODES + 1):
            goal = NODE[n] if n < NODES else 1.0
            s = stepped(s, (goal - at) * h, income, loss, maximum, half)
            at = goal
            body.node_signals[r, n, g] = s


@kernel
def average_factors(tab, body, rates, r):
    """Mean over the interval of every product of laws. Changes: rates.factors."""
    keep_apart()
    for f in range(1, tab.factor_range.shape[0]):
        total = 0.0
        for n in range(NODES):
            value = 1.0
            for term in range(tab.factor_range[f, 0], tab.factor_range[f, 1]):
                value *= law(tab, term, body.node_signals[r, n, tab.terms[term].signal])
            total += NODE_WEIGHT[n] * value
        rates.factors[f] = total


@kernel
def offsets_of(geo, compartment, reach):
    """Sites a pair channel may pick from."""
    if reach == 0:
        return geo.spaces[compartment].neighbours
    return geo.ball_count[geo.spaces[compartment].ball_row, reach]


@kernel
def sum_entries(tab, rates):
    """Running sums of entries and the greatest sum of each pair table."""
    n_species = tab.n_species
    for p in range(rates.pair_top.shape[0]):
        top = 0.0
        for place in range(p * n_species, (p + 1) * n_species):
            total = 0.0
            for e in range(tab.entry_range[place, 0], tab.entry_range[place, 1]):
                total += tab.entries[e].base * rates.factors[tab.entries[e].factor]
                rates.entry[e] = total
            top = max(top, total)
        rates.pair_top[p] = top


@kernel
def sum_channels(tab, geo, rates, compartment):
    """Running sums of a compartment's channels; False if one is not finite."""
    n_species = tab.n_species
    sane = True
    for row in range(compartment * n_species, (compartment + 1) * n_species):
        if tab.rows[row].class_of < 0:
            continue
        single = 0.0
        for ch in range(tab.rows[row].channel_first, tab.rows[row].pair_start):
            single += tab.channels[ch].base * rates.factors[tab.channels[ch].factor]
            rates.cumulative[ch] = single
        paired = 0.0
        for ch in range(tab.rows[row].pair_start, tab.rows[row].channel_last):
            paired += (
                offsets_of(geo, compartment, tab.channels[ch].reach)
                * rates.pair_top[tab.channels[ch].pair_table]
            )
            rates.cumulative[ch] = paired
        rates.rows[row].single = single
        rates.rows[row].paired = paired
        sane = sane and np.isfinite(single + paired)
    return sane


@kernel
def raise_tops(tab, rates, compartment, species):
    """A species is present: the tops of its rate class are at least its rates."""
    row = compartment * tab.n_species + species
    c = tab.rows[row].class_of
    if c < 0:
        return
    single, paired = rates.rows[row].single, rates.rows[row].paired
    rates.classes[compartment, c].single = max(rates.classes[compartment, c].single, single)
    rates.classes[compartment, c].paired = max(rates.classes[compartment, c].paired, paired)
    if single + paired > rates.classes[compartment, c].top:
        rates.classes[compartment, c].top = single + paired
        rates.classes[compartment, c].inverse = 1.0 / (single + paired)


@kernel
def is_cut(geo, compartment):
    """Whether a compartment's patches consist of several tiles."""
    space = geo.spaces[compartment]
    return space.tiles_x * space.tiles_y * space.tiles_z > 1


@kernel
def note_present(tab, body, r):
    """Which species there are at the start of a window. Changes: body.present, has_appeared."""
    body.progress[r].has_appeared = False
    for compartment in range(tab.n_compartments):
        for s in range(1, tab.n_species):
            body.present[r, compartment, s] = body.counts[r, compartment, s] > 0


@kernel
def set_tops(tab, geo, body, rates, r):
    """Tops of the rate classes, from the species that have been there in this window.

    In patches of several tiles all species count, for threads must not influence each other.
    """
    keep_apart()
    for compartment in range(tab.n_compartments):
        for c in range(tab.n_classes):
            rates.classes[compartment, c].top = 0.0
            rates.classes[compartment, c].inverse = 0.0
            rates.classes[compartment, c].single = 0.0
            rates.classes[compartment, c].paired = 0.0
        for s in range(1, tab.n_species):
            if body.present[r, compartment, s] or is_cut(geo, compartment):
                raise_tops(tab, rates, compartment, s)


@kernel
def heed_appeared(tab, body, rates, r, compartment):
    """Raise tops by what has come into a compartment of one clock, if it was not there before.

    The waiting time under way is drawn anew, which an exponential allows.
    """
    keep_apart()
    for s in range(1, tab.n_species):
        if body.counts[r, compartment, s] > 0 and not body.present[r, compartment, s]:
            body.present[r, compartment, s] = True
            raise_tops(tab, rates, compartment, s)


@kernel
def sum_arrivals(tab, geo, rates, compartment):
    """Rates at which waiting cells land and cells come from outside."""
    n_species = tab.n_species
    top = 0.0
    for row in range(compartment * n_species, (compartment + 1) * n_species):
        rate = tab.rows[row].arrive_rate * rates.factors[tab.rows[row].arrive_factor]
        rates.rows[row].arrive = rate
        top = max(top, rate)
    rates.spaces[compartment].arrive_top = top
    total = 0.0
    for i in range(geo.spaces[compartment].source_first, geo.spaces[compartment].source_last):
        total += tab.sources[i].rate * rates.factors[tab.sources[i].factor]
        rates.source[i] = total
    rates.spaces[compartment].source_sum = total


@kernel
def prepare_rates(tab, geo, rates):
    """All rates of an interval from tables and factors; False if one is not finite.

    Changes: every array of ``rates`` but classes, factors and weight.
    """
    keep_apart()
    for f in range(rates.factors.shape[0]):
        # nan fails both comparisons
        if not (rates.factors[f] >= 0.0 and rates.factors[f] < np.inf):
            return False
    sum_entries(tab, rates)
    sane = True
    for compartment in range(tab.n_compartments):
        sane = sum_channels(tab, geo, rates, compartment) and sane
        sum_arrivals(tab, geo, rates, compartment)
        sane = sane and np.isfinite(rates.spaces[compartment].source_sum)
    return sane
