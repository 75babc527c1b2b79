"""Cells pass between a reservoir and the compartment it belongs to; one of the two owns the class at a time.

Happens on exchange edges. A number of the sample is rounded so that the total is right within one
cell and every species' in the mean: one draw for all of them, on the running sum.
"""

from __future__ import annotations

import math

import numpy as np

from mst_abm.engine import rng
from mst_abm.engine.cells import copy_identity, new_id, updated_counters, write_identity
from mst_abm.engine.grid import grid_of, tile_of, view_tile
from mst_abm.engine.kernel import driver, keep_apart, kernel
from mst_abm.engine.lists import delist, enlist
from mst_abm.engine.mixed import (
    add_cell,
    deliver,
    drop_cell,
    inherit,
    listed_class,
    turn_cell,
)
from mst_abm.engine.pin import pin
from mst_abm.engine.probes import MOVES, SITE_TRIES, address_of, draw_site, random_site
from mst_abm.engine.status import DONE


@kernel
def state_of(res, c, species, counters):
    """State of a cell of the class."""
    for s in range(res.reservoirs[c].state_first, res.reservoirs[c].state_last):
        if res.states[s].species == species and res.states[s].counters == counters:
            return s
    return np.int64(-1)


@kernel
def put_cell(tab, geo, lat, body, r, k, site, species, counters, window, now):
    """A cell on a vacant site, between intervals."""
    keep_apart()
    m = geo.patches[k].compartment
    grid = pin(grid_of(geo, m))
    i = tile_of(geo, grid, site)
    tile = pin(view_tile(tab, geo, lat, body.counts[r, m], body.tally[r], r, k, i))
    tile.counts[0] -= 1
    tile.counts[species] += 1
    tile.species[site] = species
    if tab.has_counters:
        tile.counters[site] = counters
    if tab.has_identity:
        id_ = new_id(window, geo.n_units, body.births[r, geo.n_units])
        body.births[r, geo.n_units] += 1
        write_identity(tile.identity, site, id_, np.uint64(0), now, 0, 0)
    c = tab.rows[tile.row + species].class_of
    if c >= 0:
        enlist(tile.order, tile.where, tile.acting, tab.n_classes, c, site - tile.first)


@kernel
def next_site(geo, lat, r, m, k, site, species):
    """(patch, site): the first site with a species behind another one, site -1 if there is none."""
    keep_apart()
    first, patches = geo.spaces[m].first_patch, geo.spaces[m].patches
    for i in range(patches):
        q = np.int64(first + (k - first + i) % patches)
        lo, n = geo.patches[q].first, geo.patches[q].last - geo.patches[q].first
        start = np.int64(site) if i == 0 else np.int64(0)
        for step in range(n):
            place = (start + step) % n
            if lat.species[r, lo + place] == species:
                return q, place
    return np.int64(k), np.int64(-1)


@kernel
def settle_cell(tab, geo, lat, body, res, r, c, m, species, counters, window, now, address, draw):
    """Place a cell on a site that suits the class, or on any vacant one; False if there is none."""
    keep_apart()
    if body.counts[r, m, 0] == 0:
        return False
    reservoir = res.reservoirs[c]
    k, site, fits = draw_site(
        tab, geo, lat, body, r, m, np.int64(-1), reservoir.modifier_first, reservoir.modifier_last,
        counters, address, draw,
    )  # fmt: skip
    if not fits:
        k, site = next_site(geo, lat, r, m, k, site, 0)
    if site < 0:
        return False
    put_cell(tab, geo, lat, body, r, k, site, species, counters, window, now)
    return True


@kernel
def take_from_lattice(tab, geo, lat, pool, body, res, held, r, c):
    """Remove the class from the patches and their waiting pools; ``held.fresh``: cells by state."""
    keep_apart()
    m = res.reservoirs[c].compartment
    mask = tab.pattern_mask[res.reservoirs[c].cells]
    grid = pin(grid_of(geo, m))
    for p in range(geo.spaces[m].patches):
        k = geo.spaces[m].first_patch + p
        for i in range(grid.tiles_x * grid.tiles_y * grid.tiles_z):
            tile = pin(view_tile(tab, geo, lat, body.counts[r, m], body.tally[r], r, k, i))
            for local in range(tile.n):
                site = tile.first + local
                species = np.int64(tile.species[site])
                if species == 0 or not mask[species]:
                    continue
                counters = np.int64(tile.counters[site]) if tab.has_counters else np.int64(0)
                held.fresh[state_of(res, c, species, counters)] += 1
                held.handed[r, m, species] -= 1
                row = tab.rows[tile.row + species]
                if row.class_of >= 0:
                    delist(tile.order, tile.where, tile.acting, tab.n_classes, row.class_of, local)
                tile.species[site] = 0
                tile.counts[species] -= 1
                tile.counts[0] += 1
        i = 0
        while i < pool.n[r, k]:
            species = np.int64(pool.cells[r, k, i].species)
            if not mask[species]:
                i += 1
                continue
            counters = np.int64(pool.cells[r, k, i].counters)
            held.fresh[state_of(res, c, species, counters)] += 1
            end = pool.n[r, k] - 1
            depth = pool.cells.shape[2]
            pool.cells[r, k, i].species = pool.cells[r, k, end].species
            pool.cells[r, k, i].counters = pool.cells[r, k, end].counters
            if tab.has_identity:
                copy_identity(pool.identity[r], k * depth + end, pool.identity[r], k * depth + i)
            pool.n[r, k] = end


@kernel
def take_from_mixed(tab, geo, mix, body, res, held, r, c):
    keep_apart()
    m = res.reservoirs[c].compartment
    q = geo.spaces[m].mixed_index
    mask = tab.pattern_mask[res.reservoirs[c].cells]
    slot = mix.first[q] + mix.bounds[r, q, tab.n_classes + 1] - 1
    while slot >= mix.first[q]:
        species = np.int64(mix.species[r, slot])
        if mask[species]:
            counters = np.int64(mix.counters[r, slot]) if tab.has_counters else np.int64(0)
            held.fresh[state_of(res, c, species, counters)] += 1
            held.handed[r, m, species] -= 1
            # the holes this makes are filled from higher slots, which have been looked at
            drop_cell(tab, geo, mix, body, r, q, slot)
        slot -= 1


@kernel
def sampled(tab, geo, pool, body, res, r, c):
    """Simulated cells of the class, those that wait included."""
    m = res.reservoirs[c].compartment
    mask = tab.pattern_mask[res.reservoirs[c].cells]
    total = np.int64(0)
    for s in range(1, tab.n_species):
        if mask[s]:
            total += body.counts[r, m, s]
    for p in range(geo.spaces[m].patches):
        k = geo.spaces[m].first_patch + p
        for i in range(pool.n[r, k]):
            if mask[pool.cells[r, k, i].species]:
                total += 1
    return total


@kernel
def take(tab, geo, lat, mix, pool, body, res, held, r, c, u):
    """The class, or what of it there is in the compartment, becomes a number of the body."""
    keep_apart()
    first, last = res.reservoirs[c].state_first, res.reservoirs[c].state_last
    for s in range(first, last):
        held.fresh[s] = 0
    if geo.spaces[res.reservoirs[c].compartment].is_lattice:
        take_from_lattice(tab, geo, lat, pool, body, res, held, r, c)
    else:
        take_from_mixed(tab, geo, mix, body, res, held, r, c)
    before = 0.0
    for s in range(first, last):
        after = before + held.fresh[s] / res.reservoirs[c].share
        held.numbers[r, s] += np.int64(math.floor(after + u)) - np.int64(math.floor(before + u))
        before = after
    held.is_owner[r, c] = True


@kernel
def give(tab, geo, lat, mix, body, res, held, r, c, u, window, now, address, draw):
    """Cells of the sample in the place of the number; returns the next draw."""
    keep_apart()
    reservoir = res.reservoirs[c]
    m = reservoir.compartment
    before = 0.0
    for s in range(reservoir.state_first, reservoir.state_last):
        after = before + held.numbers[r, s] * reservoir.share
        cells = np.int64(math.floor(after + u)) - np.int64(math.floor(before + u))
        before = after
        held.numbers[r, s] = 0
        species, counters = res.states[s].species, np.uint16(res.states[s].counters)
        for _ in range(cells):
            place_one(
                tab, geo, lat, mix, body, res, r, c, m, species, counters, window, now, address,
                draw,
            )  # fmt: skip
            draw += 1
        held.handed[r, m, species] += cells
    held.is_owner[r, c] = False
    return draw


@kernel
def place_one(
    tab, geo, lat, mix, body, res, r, c, m, species, counters, window, now, address, draw
):
    """A cell on a lattice or in a mixed compartment, which has room."""
    q = geo.spaces[m].mixed_index
    if q < 0:
        return settle_cell(
            tab, geo, lat, body, res, r, c, m, species, counters, window, now, address, draw
        )
    slot = add_cell(tab, geo, mix, body, r, q, species, counters)
    if tab.has_identity:
        inherit(
            tab, body, r, mix.identity[r], -1, mix.identity[r], slot, 0, window, geo.n_units, now
        )
    return True


@kernel
def turn_on_lattice(tab, geo, lat, body, res, held, r, o, address, draw):
    """A random cell of a species, on a patch, becomes another or nothing; False if there is none."""
    keep_apart()
    out = res.outgoing[o]
    m, old, new = out.compartment, out.before, out.species
    k = site = np.int64(0)
    for trial in range(SITE_TRIES):
        k, site, _ = random_site(geo, m, address, draw, trial)
        if lat.species[r, geo.patches[k].first + site] == old:
            break
    k, site = next_site(geo, lat, r, m, k, site, old)
    if site < 0:
        return False
    grid = pin(grid_of(geo, m))
    i = tile_of(geo, grid, site)
    tile = pin(view_tile(tab, geo, lat, body.counts[r, m], body.tally[r], r, k, i))
    local = site - tile.first
    before, after = tab.rows[tile.row + old].class_of, tab.rows[tile.row + new].class_of
    if before >= 0:
        delist(tile.order, tile.where, tile.acting, tab.n_classes, before, local)
    if tab.has_counters:
        tile.counters[site] = updated_counters(
            tab, out.update, tile.counters[site], address, draw, 0
        )
    tile.species[site] = new
    tile.counts[old] -= 1
    tile.counts[new] += 1
    if new > 0 and after >= 0:
        enlist(tile.order, tile.where, tile.acting, tab.n_classes, after, local)
    return True


@kernel
def turn_in_mixed(tab, geo, mix, body, res, held, r, o, address, draw):
    """The same in a mixed compartment."""
    keep_apart()
    out = res.outgoing[o]
    m, old = out.compartment, out.before
    if body.counts[r, m, old] == 0:
        return False
    q = geo.spaces[m].mixed_index
    c = listed_class(tab, m, old)
    start, n = mix.first[q] + mix.bounds[r, q, c], mix.bounds[r, q, c + 1] - mix.bounds[r, q, c]
    place = np.int64(0)
    for trial in range(SITE_TRIES):
        a, _, _ = rng.detail(
            address.seed, address.replicate, address.window + (trial << 20), address.space, draw,
            rng.RESERVING,
        )  # fmt: skip
        place = min(int(a * n), n - 1)
        if mix.species[r, start + place] == old:
            break
    while mix.species[r, start + place] != old:
        place = (place + 1) % n
    slot = start + place
    if tab.has_counters:
        mix.counters[r, slot] = updated_counters(
            tab, out.update, mix.counters[r, slot], address, draw, 0
        )
    turn_cell(tab, geo, mix, body, r, q, slot, out.species)
    return True


@kernel
def turn_one(tab, geo, lat, mix, body, res, held, r, o, address, draw):
    """A cell of the sample feels what one of a reservoir has done to it."""
    out = res.outgoing[o]
    m = out.compartment
    if geo.spaces[m].mixed_index < 0:
        found = turn_on_lattice(tab, geo, lat, body, res, held, r, o, address, draw)
    else:
        found = turn_in_mixed(tab, geo, mix, body, res, held, r, o, address, draw)
    if found:
        held.handed[r, m, out.before] -= 1
        if out.species > 0:
            held.handed[r, m, out.species] += 1


@kernel
def send_out(tab, geo, lat, mix, pool, body, res, held, r, o, window, now, address, draw):
    """Place what a reservoir's deeds have sent out; what finds no room waits. Returns the next draw."""
    keep_apart()
    out = res.outgoing[o]
    c, to, species = out.reservoir, out.compartment, out.species
    counters = np.uint16(out.counters)
    is_here = to == res.reservoirs[c].compartment
    while held.owed[r, o] > 0:
        if out.before > 0:
            # what is no longer there cannot feel it
            turn_one(tab, geo, lat, mix, body, res, held, r, o, address, draw)
        elif is_here:
            if not place_one(
                tab, geo, lat, mix, body, res, r, c, to, species, counters, window, now, address,
                draw,
            ):  # fmt: skip
                return draw
            held.handed[r, to, species] += 1
        else:
            _, u, _ = rng.detail(
                address.seed, address.replicate, address.window, address.space, draw, rng.RESERVING
            )
            status = deliver(
                tab, geo, mix, pool, body, r, to, species, counters, 1, u, mix.identity[r], -1,
                window, now,
            )  # fmt: skip
            if status != DONE:
                return draw
        draw += 1
        held.owed[r, o] -= 1
    return draw


@kernel
def state_cells(tab, res, held, body, r):
    """What the sample would hold of the reservoirs' cells. Changes: body.held."""
    for c in range(res.reservoirs.shape[0]):
        m = res.reservoirs[c].compartment
        for s in range(res.reservoirs[c].state_first, res.reservoirs[c].state_last):
            body.held[r, m, res.states[s].species] = 0.0
    for c in range(res.reservoirs.shape[0]):
        m, share = res.reservoirs[c].compartment, res.reservoirs[c].share
        for s in range(res.reservoirs[c].state_first, res.reservoirs[c].state_last):
            body.held[r, m, res.states[s].species] += held.numbers[r, s] * share


@driver
def hand_over(tab, geo, lat, mix, pool, body, res, held, seed, window, now, first_body, last_body):
    """Place what reservoirs sent out, gather what of a class came about outside, pass classes on.

    Mixed compartments and pools must have room.
    """
    tab, geo, lat, mix = pin(tab), pin(geo), pin(lat), pin(mix)
    pool, body, res, held = pin(pool), pin(body), pin(res), pin(held)
    for r in range(first_body, last_body):
        for c in range(res.reservoirs.shape[0]):
            address = address_of(seed, body.progress[r].replicate, window, c, MOVES)
            draw = np.int64(1)
            u, v, _ = rng.detail(seed, address.replicate, window, address.space, 0, rng.RESERVING)
            reservoir = res.reservoirs[c]
            for o in range(res.outgoing.shape[0]):
                if res.outgoing[o].reservoir == c:
                    draw = send_out(
                        tab, geo, lat, mix, pool, body, res, held, r, o, window, now, address, draw
                    )
            present = sampled(tab, geo, pool, body, res, r, c)
            if not held.is_owner[r, c]:
                if present < reservoir.below:
                    take(tab, geo, lat, mix, pool, body, res, held, r, c, u)
                continue
            if present > 0:
                take(tab, geo, lat, mix, pool, body, res, held, r, c, u)
            expected = 0.0
            for s in range(reservoir.state_first, reservoir.state_last):
                expected += held.numbers[r, s] * reservoir.share
            m = reservoir.compartment
            has_room = not geo.spaces[m].is_lattice or 2 * expected < body.counts[r, m, 0]
            if expected > reservoir.above and has_room:
                draw = give(
                    tab, geo, lat, mix, body, res, held, r, c, v, window, now, address, draw
                )
        state_cells(tab, res, held, body, r)
