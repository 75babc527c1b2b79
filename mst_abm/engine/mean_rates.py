"""Rates of change of mean numbers of cells: what a model does where everything is mixed at random.

A *state* is a species with its counters in a compartment, or waiting for a place there; state 0 is the world
outside, of which there is always one. An *event* is something that a cell of a state does or suffers, with the
hazard base x *context*. Contexts are what all cells of a kind share: a factor of signals, what is near (a *look*),
whether there is room, and how many others there are to meet (a *crowd*). Given the contexts the equations are linear.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from mst_abm.engine.cells import table_value_between
from mst_abm.engine.kernel import keep_apart, kernel
from mst_abm.engine.signals import law

# What a context's room asks for.
ONE_SITE, ANY_SITE, A_PLACE, A_BATCH = range(4)
# What a look sees: drawn numbers of cells near by, their mean, a field.
AROUND, MEAN_AROUND, LEVEL_HERE = range(3)

CONTEXT = np.dtype([("factor", "i8"), ("look", "i8"), ("room", "i8"), ("crowd", "i8")])
LOOK = np.dtype(
    [
        ("kind", "i8"),
        ("modifier", "i8"),  # row of modifiers; LEVEL_HERE: term of a law
        ("compartment", "i8"),  # LEVEL_HERE: number of the level
        ("sites", "i8"),  # of the ball
        ("bound", "f8"),  # LEVEL_HERE: what the law is divided by
    ]
)
ROOM = np.dtype([("kind", "i8"), ("compartment", "i8"), ("number", "f8")])
PLACE = np.dtype(  # a compartment
    [
        ("sites", "f8"),  # for cells that are not part of the anatomy; room of mass action
        ("held", "f8"),  # static cells at the beginning, which take none of these
        ("open", "f8"),  # share of a cell's neighbours that are such sites
        ("has_sites", "b1"),
        ("share", "f8"),
    ]
)
LEVEL = np.dtype(  # a signal, or the mean of a field
    [
        ("is_given", "b1"),
        ("production", "f8"),
        ("clearance", "f8"),
        ("maximum", "f8"),
        ("half", "f8"),
        ("gain_first", "i8"),  # terms
        ("gain_last", "i8"),
        ("loss_first", "i8"),
        ("loss_last", "i8"),
        ("event_first", "i8"),  # fed
        ("event_last", "i8"),
    ]
)
COUNTED = np.dtype([("row", "i8"), ("rate", "f8")])
FED = np.dtype([("event", "i8"), ("amount", "f8")])


class Flow(NamedTuple):
    """A model as rates of change. N states, M compartments, S species, L levels (signals, then fields).

    States are sorted into blocks: cells pass from lower to higher blocks only, within a block to and fro.
    Events are sorted by their state, entries by the state they lead to.
    """

    n_species: int
    row: np.ndarray  # (N,) compartment * S + species; -1 = waits, or is the world outside
    block_first: np.ndarray  # (blocks + 1,) states
    event_first: np.ndarray  # (N + 1,) events of a state
    event_state: np.ndarray  # (events,)
    event_context: np.ndarray
    event_tally: np.ndarray
    event_base: np.ndarray
    event_loss: np.ndarray  # cells that its state loses by it
    into_first: np.ndarray  # (N + 1,) entries into a state, from others
    into_event: np.ndarray
    into_state: np.ndarray  # where they come from
    into_copies: np.ndarray
    contexts: np.ndarray  # CONTEXT
    look_range: np.ndarray  # (looks, 2) their product; 0 = nothing
    looks: np.ndarray  # LOOK
    rooms: np.ndarray  # ROOM; 0 = not asked for
    places: np.ndarray  # (M,) PLACE
    crowd_first: np.ndarray  # crowds of weighted states, numbered from M * S on
    crowd_state: np.ndarray
    crowd_weight: np.ndarray
    levels: np.ndarray  # (L,) LEVEL
    counted: np.ndarray  # COUNTED
    fed: np.ndarray  # FED
    factor_range: np.ndarray  # as in Tables
    terms: np.ndarray
    law: np.ndarray
    modifiers: np.ndarray
    modifier_values: np.ndarray
    pattern_mask: np.ndarray
    kin: np.ndarray  # (M * S,) cell type of a row


class Effort(NamedTuple):
    """Scratch of one integration."""

    counts: np.ndarray  # (M * S,) cells by species
    factors: np.ndarray
    look: np.ndarray
    room: np.ndarray
    crowd: np.ndarray  # weighted crowds
    totals: np.ndarray  # (M,)
    context: np.ndarray
    hazard: np.ndarray  # (events,)
    loss: np.ndarray  # (N,) net loss of a state by its own events, per cell
    income: np.ndarray  # (entries,)
    stages: np.ndarray  # (6, N)
    stage_levels: np.ndarray  # (4, L)
    seen: np.ndarray  # (M * S,) counts to compare with
    kin: np.ndarray  # (types,) cells of the body
    given: np.ndarray  # (factors,) mean over a step of the laws of given signals
    added: np.ndarray  # (L,) what drugs add to a level in a step, per hour


def make_effort(flow: Flow) -> Effort:
    """Scratch for a flow."""
    n, rows, levels = len(flow.row), len(flow.kin), len(flow.levels)
    sizes = (
        rows, len(flow.factor_range), len(flow.look_range), len(flow.rooms),
        len(flow.crowd_first) - 1, len(flow.places), len(flow.contexts), len(flow.event_base), n,
        len(flow.into_event),
    )  # fmt: skip
    return Effort(
        *(np.zeros(size) for size in sizes),
        stages=np.zeros((6, n)),
        stage_levels=np.zeros((4, levels)),
        seen=np.zeros(rows),
        kin=np.zeros(int(flow.kin.max(initial=0)) + 1),
        given=np.ones(len(flow.factor_range)),
        added=np.zeros(levels),
    )


@kernel
def count_cells(flow, y, counts):
    """Cells by compartment and species. Changes: counts."""
    counts[:] = 0.0
    for i in range(flow.row.shape[0]):
        if flow.row[i] >= 0:
            counts[flow.row[i]] += y[i]


@kernel
def mean_of_draws(flow, modifier, n, p):
    """Mean of a modifier's table over the number of cells on n sites, each taken with probability p."""
    keep_apart()
    p = min(max(p, 0.0), 1.0)
    if p == 1.0:
        return table_value_between(flow, modifier, np.float64(n))
    weight, odds, total, mean = (1.0 - p) ** n, p / (1.0 - p), 0.0, 0.0
    if weight < 1e-280:
        # too many are expected for the table's shape about them to matter
        return table_value_between(flow, modifier, n * p)
    last = flow.modifiers[modifier].length - 1
    start = flow.modifiers[modifier].table
    for k in range(n + 1):
        mean += weight * flow.modifier_values[start + min(k, last)]
        total += weight
        if 1.0 - total < 1e-12 and k > n * p:
            break
        weight *= odds * (n - k) / (k + 1.0)
    return mean


@kernel
def vacancy(flow, totals, m):
    """Share of a compartment's sites that are vacant."""
    place = flow.places[m]
    return min(max(1.0 - (totals[m] - place.held) / place.sites, 0.0), 1.0)


@kernel
def look_around(flow, counts, totals, levels, look):
    """Value of one look."""
    keep_apart()
    modifier, m = look.modifier, look.compartment
    if look.kind == LEVEL_HERE:
        return law(flow, modifier, levels[m]) / look.bound
    place = flow.places[m]
    target = flow.modifiers[modifier].target
    x = 0.0
    for s in range(1, flow.n_species):
        if flow.pattern_mask[target, s]:
            x += counts[m * flow.n_species + s]
    share = x / place.sites
    if flow.pattern_mask[target, 0]:
        share += max(1.0 - (totals[m] - place.held) / place.sites, 0.0)
    if look.kind == MEAN_AROUND:
        return table_value_between(flow, modifier, look.sites * share)
    return mean_of_draws(flow, modifier, look.sites, share * place.open)


@kernel
def find_room(flow, totals, room):
    """Probability that what asks for room finds it."""
    place = flow.places[room.compartment]
    if room.kind == A_BATCH:
        left = place.sites - totals[room.compartment]
        return min(max(left / room.number, 0.0), 1.0)
    free = vacancy(flow, totals, room.compartment)
    if room.kind == A_PLACE:
        sites = free * place.sites
        return sites / (sites + 1.0)
    free *= place.open
    if room.kind == ONE_SITE:
        return free
    return 1.0 - (1.0 - free) ** room.number


@kernel
def set_contexts(flow, eff, y, levels):
    """All contexts of states y and levels. Changes: counts, factors, look, room, crowd, totals, context."""
    keep_apart()
    n_species = flow.n_species
    count_cells(flow, y, eff.counts)
    for m in range(flow.places.shape[0]):
        eff.totals[m] = 0.0
        for s in range(1, n_species):
            eff.totals[m] += eff.counts[m * n_species + s]
    for f in range(flow.factor_range.shape[0]):
        value = eff.given[f]
        for term in range(flow.factor_range[f, 0], flow.factor_range[f, 1]):
            g = flow.terms[term].signal
            if not flow.levels[g].is_given:
                value *= law(flow, term, levels[g])
        eff.factors[f] = value
    for i in range(flow.look_range.shape[0]):
        value = 1.0
        for j in range(flow.look_range[i, 0], flow.look_range[i, 1]):
            value *= look_around(flow, eff.counts, eff.totals, levels, flow.looks[j])
        eff.look[i] = value
    for i in range(1, flow.rooms.shape[0]):
        eff.room[i] = find_room(flow, eff.totals, flow.rooms[i])
    eff.room[0] = 1.0
    for i in range(eff.crowd.shape[0]):
        eff.crowd[i] = 0.0
        for j in range(flow.crowd_first[i], flow.crowd_first[i + 1]):
            eff.crowd[i] += flow.crowd_weight[j] * y[flow.crowd_state[j]]
    n_rows = eff.counts.shape[0]
    for c in range(flow.contexts.shape[0]):
        context = flow.contexts[c]
        value = eff.factors[context.factor] * eff.look[context.look] * eff.room[context.room]
        if context.crowd >= n_rows:
            value *= eff.crowd[context.crowd - n_rows]
        elif context.crowd >= 0:
            value *= eff.counts[context.crowd]
        eff.context[c] = value


@kernel
def set_hazards(flow, eff):
    """Hazards of all events from contexts; False if one is not finite. Changes: hazard, loss, income."""
    keep_apart()
    for c in range(eff.context.shape[0]):
        if not (eff.context[c] >= 0.0 and eff.context[c] < math.inf):
            return False
    for e in range(flow.event_base.shape[0]):
        eff.hazard[e] = flow.event_base[e] * eff.context[flow.event_context[e]]
    for i in range(flow.row.shape[0]):
        total = 0.0
        for e in range(flow.event_first[i], flow.event_first[i + 1]):
            total += eff.hazard[e] * flow.event_loss[e]
        eff.loss[i] = total
    for k in range(flow.into_event.shape[0]):
        eff.income[k] = eff.hazard[flow.into_event[k]] * flow.into_copies[k]
    return True
