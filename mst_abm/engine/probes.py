"""Probes: ghosts of a class held apart, which see what a cell in their place would see.

They stand on sites drawn anew for every exchange interval, take no room, are seen by no one and never act.
What they see is read at both ends of the interval, from the same sites, and averaged: the trapezoid rule
for the integral over it. Signals enter by their own mean over the interval.
"""

from __future__ import annotations

import numpy as np

from mst_abm.engine import rng
from mst_abm.engine.cells import Address
from mst_abm.engine.changes import chain_to, n_vacant_neighbours
from mst_abm.engine.grid import grid_of, locate, shifted, tile_of, view_tile
from mst_abm.engine.kernel import driver, keep_apart, kernel
from mst_abm.engine.lattice import acceptance
from mst_abm.engine.mixed import mean_acceptance
from mst_abm.engine.pin import pin
from mst_abm.engine.reserves import ACTS, CERTAIN, ROOM, SUFFERS
from mst_abm.engine.signals import offsets_of
from mst_abm.engine.tables import ATTEMPT, VACANT

SITE_TRIES = 4096
# Spaces of draws: beyond all tiles and batches, four for each reservoir.
FIRST_SPACE, SITES, EVENTS, MOVES, FIRST = 1 << 27, 0, 1, 2, 3


@kernel
def address_of(seed, replicate, window, c, use):
    """Where the draws of a reservoir come from."""
    return Address(seed, replicate, window, FIRST_SPACE + 4 * c + use)


@kernel
def random_site(geo, m, address, draw, trial):
    """(patch, site in it, a word to accept it by): a site of a lattice, the same chance for each."""
    keep_apart()
    space = geo.spaces[m]
    a, b, c = rng.detail(
        address.seed, address.replicate, address.window + (trial << 20), address.space, draw,
        rng.RESERVING,
    )  # fmt: skip
    k = np.int64(space.first_patch + min(int(c * space.patches), space.patches - 1))
    n = geo.patches[k].last - geo.patches[k].first
    return k, np.int64(min(int(a * n), n - 1)), b


@kernel
def draw_site(tab, geo, lat, body, r, m, on, first, last, counters, address, draw):
    """(patch, site, whether it fits): a random site on cells of pattern ``on`` (-1: vacant), weighed by
    local modifiers; after too many tries the last one tried.
    """
    keep_apart()
    grid = pin(grid_of(geo, m))
    k = site = np.int64(0)
    for trial in range(SITE_TRIES):
        k, site, b = random_site(geo, m, address, draw, trial)
        species = np.int64(lat.species[r, geo.patches[k].first + site])
        if (species != 0) if on < 0 else (not tab.pattern_mask[on, species]):
            continue
        if first == last:
            return k, site, True
        there = pin(
            view_tile(
                tab, geo, lat, body.counts[r, m], body.tally[r], r, k, tile_of(geo, grid, site)
            )
        )
        if b < acceptance(tab, geo, grid, there, first, last, site - there.first, counters):
            return k, site, True
    return k, site, False


@kernel
def room_at(tab, geo, grid, tile, path, local, placement, push, u):
    """Probability that a daughter of a cell at a place finds room."""
    keep_apart()
    x, y, z = locate(tile, local)
    if placement == ATTEMPT or placement == VACANT:
        free = n_vacant_neighbours(geo, grid, tile, x, y, z)
        if placement == ATTEMPT:
            return free / geo.spaces[tile.compartment].neighbours
        return 1.0 if free > 0 else 0.0
    row = geo.spaces[tile.compartment].ball_row
    ball = geo.ball[row]
    for o in range(geo.ball_count[row, push]):
        dx, dy, dz = np.int64(ball[o, 0]), np.int64(ball[o, 1]), np.int64(ball[o, 2])
        goal = shifted(geo, grid, tile, x, y, z, dx, dy, dz)
        if goal >= 0 and tile.species[goal] == 0:
            if chain_to(tab, geo, grid, tile, path, x, y, z, dx, dy, dz, u) > 0:
                return 1.0
    return 0.0


@kernel
def meetings_at(tab, geo, lat, body, grid, tile, outlook, local, r, k):
    """Cells near a place that act on a cell there, each by its own local modifiers; or on which it acts."""
    keep_apart()
    x, y, z = locate(tile, local)
    row = geo.spaces[tile.compartment].ball_row
    first, last = outlook.modifier_first, outlook.modifier_last
    total = 0.0
    for o in range(offsets_of(geo, tile.compartment, outlook.reach)):
        offset = geo.direction[tile.compartment, o] if outlook.reach == 0 else geo.ball[row, o]
        other = shifted(
            geo, grid, tile, x, y, z,
            np.int64(offset[0]), np.int64(offset[1]), np.int64(offset[2]),
        )  # fmt: skip
        if other < 0 or tile.species[other] != outlook.other:
            continue
        if first == last or outlook.kind == ACTS:
            total += 1.0
            continue
        m = tile.compartment
        i = tile_of(geo, grid, other)
        there = pin(view_tile(tab, geo, lat, body.counts[r, m], body.tally[r], r, k, i))
        counters = tile.counters[other] if tab.has_counters else np.uint16(0)
        total += acceptance(tab, geo, grid, there, first, last, other - there.first, counters)
    if total > 0.0 and outlook.kind == ACTS and first < last:
        counters = np.uint16(outlook.counters)
        total *= acceptance(tab, geo, grid, tile, first, last, local, counters)
    return total


@kernel
def look_on_lattice(tab, geo, lat, body, res, held, values, r, c, u):
    """Mean over the probes of a reservoir of every outlook. Changes: ``values``."""
    keep_apart()
    reservoir = res.reservoirs[c]
    m = reservoir.compartment
    grid = pin(grid_of(geo, m))
    for i in range(reservoir.outlook_first, reservoir.outlook_last):
        values[i] = 1.0 if res.outlooks[i].kind == CERTAIN else 0.0
    n = reservoir.probe_last - reservoir.probe_first
    for g in range(reservoir.probe_first, reservoir.probe_last):
        k, site = held.patch[r, g], held.site[r, g]
        tile = pin(
            view_tile(
                tab, geo, lat, body.counts[r, m], body.tally[r], r, k, tile_of(geo, grid, site)
            )
        )
        local = site - tile.first
        for i in range(reservoir.outlook_first, reservoir.outlook_last):
            outlook = res.outlooks[i]
            kind = outlook.kind
            if kind == CERTAIN:
                continue
            if kind == SUFFERS or kind == ACTS:
                if body.counts[r, m, outlook.other] > 0:
                    values[i] += (
                        meetings_at(tab, geo, lat, body, grid, tile, outlook, local, r, k) / n
                    )
                continue
            p = 1.0
            if outlook.modifier_first < outlook.modifier_last:
                p = acceptance(
                    tab, geo, grid, tile, outlook.modifier_first, outlook.modifier_last, local,
                    np.uint16(outlook.counters),
                )  # fmt: skip
            if kind == ROOM and p > 0.0:
                p *= room_at(
                    tab, geo, grid, tile, held.path, local, outlook.placement, outlook.push, u
                )
            values[i] += p / n


@kernel
def look_in_mixed(tab, geo, body, res, values, r, c):
    """The same in a mixed compartment, where it is known in closed form."""
    keep_apart()
    reservoir = res.reservoirs[c]
    m = reservoir.compartment
    for i in range(reservoir.outlook_first, reservoir.outlook_last):
        outlook = res.outlooks[i]
        first, last = outlook.modifier_first, outlook.modifier_last
        value = 1.0
        if outlook.kind == SUFFERS or outlook.kind == ACTS:
            meeting = offsets_of(geo, m, outlook.reach) / geo.spaces[m].room
            value = body.counts[r, m, outlook.other] * meeting
        if first < last and value > 0.0:
            actor = outlook.other if outlook.kind == SUFFERS else np.int64(0)
            value *= mean_acceptance(
                tab, geo, body, r, m, first, last, actor, np.uint16(outlook.counters)
            )
        values[i] = value


@kernel
def look(tab, geo, lat, body, res, held, values, r, c, u):
    if geo.spaces[res.reservoirs[c].compartment].is_lattice:
        look_on_lattice(tab, geo, lat, body, res, held, values, r, c, u)
    else:
        look_in_mixed(tab, geo, body, res, values, r, c)


@kernel
def is_empty(res, held, r, c):
    """Whether a reservoir holds no cell, be it that the compartment owns them."""
    for s in range(res.reservoirs[c].state_first, res.reservoirs[c].state_last):
        if held.numbers[r, s] > 0:
            return False
    return True


@driver
def send_probes(tab, geo, lat, body, res, held, seed, window, first_body, last_body):
    """Probes take their places at the start of an interval and look around."""
    tab, geo, lat, body = pin(tab), pin(geo), pin(lat), pin(body)
    res, held = pin(res), pin(held)
    for r in range(first_body, last_body):
        for c in range(res.reservoirs.shape[0]):
            if is_empty(res, held, r, c):
                continue
            reservoir = res.reservoirs[c]
            m = reservoir.compartment
            address = address_of(seed, body.progress[r].replicate, window, c, SITES)
            if geo.spaces[m].is_lattice:
                for g in range(reservoir.probe_first, reservoir.probe_last):
                    k, site, _ = draw_site(
                        tab, geo, lat, body, r, m, reservoir.on, reservoir.modifier_first,
                        reservoir.modifier_last, np.uint16(0), address, g,
                    )  # fmt: skip
                    held.patch[r, g] = k
                    held.site[r, g] = site
            _, u, _ = rng.detail(
                seed, address.replicate, window, address.space, reservoir.probe_last, rng.RESERVING
            )
            look(tab, geo, lat, body, res, held, held.outlook[r], r, c, u)
