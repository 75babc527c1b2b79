"""Many tiles of one patch: each takes turns of a window, coloured so that several work at once.

Synchronous sublattice algorithm (Shim and Amar 2005, doi:10.1103/PhysRevB.71.125432) with clocks of their
own for cells that cross an edge. One window:

    1. waiting cells of the pool land, each at its own time
    2. colour by colour, in a fixed order, tiles of a colour in any: mend the list after what neighbours
       did, live through the window; cells that came from neighbours join at their own times
    3. settle, in the same order: mend the list; cells that came with a time that had passed catch
       up, alone; again until all clocks agree
"""

from __future__ import annotations

import numpy as np

from mst_abm.engine import rng
from mst_abm.engine.border import (
    LAST,
    fill_queue,
    find_neighbours,
    mend,
    pull,
    stamp_of,
    tick_of,
    time_of,
)
from mst_abm.engine.cells import Address
from mst_abm.engine.gate import call_off, wait_at
from mst_abm.engine.grid import Tile, grid_of, tile_of, view_tile
from mst_abm.engine.kernel import driver, keep_apart, kernel, prefetch
from mst_abm.engine.lattice import arrive, land, run_tile
from mst_abm.engine.lists import drop_waiting, enlist, first_waiting
from mst_abm.engine.numbers import logarithm
from mst_abm.engine.pin import pin
from mst_abm.engine.status import DONE, HALTED

FRESH, UNDER_WAY = 0, 1  # stages of a turn


@kernel
def late_view(tile, scratch):
    """The tile with nothing acting but what catches up."""
    return Tile(
        tile.compartment, tile.row, tile.unit, tile.patch, tile.first, tile.n,
        tile.x, tile.y, tile.z, tile.nx, tile.ny, tile.nz,
        tile.magic_x, tile.shift_x, tile.magic_y, tile.shift_y,
        tile.species, tile.counters, tile.stamp, tile.fields, tile.identity, tile.sensed,
        tile.where, tile.order, scratch.late, tile.listed, tile.counts, tile.tally,
    )  # fmt: skip


@kernel
def fetch_tile(tile):
    """Ask for all of a tile at once: in a row memory is many times faster."""
    for local in range(0, tile.n, 32):
        prefetch(tile.species, tile.first + local)
        prefetch(tile.where, local)
        prefetch(tile.order, local)


@kernel
def fall_in(tab, tile, scratch):
    """Those that caught up act with the others from now on."""
    keep_apart()
    n, late = tab.n_classes, scratch.late
    # an entry is read before the list of the others grows over it
    for c in range(n):
        for place in range(late[c], late[c + 1]):
            enlist(tile.order, tile.where, tile.listed, n, c, np.int64(tile.order[place]))
    late[:] = 0


@kernel
def end_waiting(tab, tile):
    """Cells that waited for the end of the window act with the others from now on."""
    keep_apart()
    n, stamp = tab.n_classes, stamp_of(LAST)
    place = first_waiting(tile, n)
    while place < tile.n:
        local = np.int64(tile.order[place])
        site = tile.first + local
        if tile.stamp[site] == stamp:
            drop_waiting(tile, n, place)
            tile.stamp[site] = 0
            c = tab.rows[tile.row + np.int64(tile.species[site])].class_of
            enlist(tile.order, tile.where, tile.listed, n, c, local)
        place += 1


@kernel
def take_turn(
    tab,
    geo,
    grid,
    lat,
    border,
    scratch,
    pool,
    body,
    rates,
    draws,
    seed,
    r,
    k,
    i,
    window,
    is_settling,
):
    """One tile through the window, or what is late in it up to the end; returns a status.

    A turn that had to stop because a table was full goes on.
    """
    tile = pin(view_tile(tab, geo, lat, scratch.counts, scratch.tally, r, k, i))
    turn = scratch.turn
    if turn[0].stage == FRESH:
        if not is_settling:
            fetch_tile(tile)
        find_neighbours(geo, grid, tile, scratch, is_settling)
        pull(tab, geo, grid, border, tile, scratch)
        turn[0].candidate = border.drawn[tile.unit]
        turn[0].is_full = False
        fill_queue(tab, tile, scratch, 0)
        turn[0].time = turn[0].begin
        if is_settling:
            if turn[0].queued == 0:
                end_waiting(tab, tile)
                return DONE
            scratch.late[:] = tile.listed[tab.n_classes]
            turn[0].time = time_of(turn, scratch.queue[0] >> 16)
        turn[0].stage = UNDER_WAY
    acting = pin(late_view(tile, scratch)) if is_settling else tile
    status = run_tile(
        tab, geo, grid, lat, border, acting, scratch, pool, body, rates, draws, seed, r, k, window,
        turn[0].end, False,
    )  # fmt: skip
    if status != DONE:
        return status
    if is_settling:
        fall_in(tab, tile, scratch)
    end_waiting(tab, tile)
    turn[0].stage = FRESH
    border.drawn[tile.unit] = turn[0].candidate
    return DONE


@driver
def take_turns(
    tab, geo, lat, border, scratch, pool, body, rates, draws, seed, r, k, window, tiles, phases,
    n_living, gate, n_threads, phase, at,
):  # fmt: skip
    """One thread's share of a window: turns of ``tiles``, phase by phase.

    Tiles ``phases[p]`` to ``phases[p + 1]`` make up phase p; the first ``n_living`` phases live, the others
    settle. Between two all threads meet at the gate. Begins with tile ``at`` of ``phase`` and returns (status,
    phase and tile it stopped at, whether something is left to settle).
    """
    tab, geo, lat, border, scratch = pin(tab), pin(geo), pin(lat), pin(border), pin(scratch)
    pool, body, rates, draws = pin(pool), pin(body), pin(rates), pin(draws)
    grid = pin(grid_of(geo, geo.patches[k].compartment))
    n_phases = phases.shape[0] - 1
    is_left = False
    while phase < n_phases:
        is_settling = phase >= n_living
        while at < phases[phase + 1]:
            status = take_turn(
                tab, geo, grid, lat, border, scratch, pool, body, rates, draws, seed, r, k,
                tiles[at], window, is_settling,
            )  # fmt: skip
            if status != DONE:
                call_off(gate)
                return status, np.int64(phase), np.int64(at), is_left
            unit = geo.patches[k].unit + tiles[at]
            if is_settling and (border.n[unit] > 0 or lat.bounds[r, unit, tab.n_classes + 1] > 0):
                is_left = True
            at += 1
        if phase + 1 < n_phases and not wait_at(gate, phase, n_threads):
            return HALTED, np.int64(phase), np.int64(at), is_left
        phase += 1
    return DONE, np.int64(phase), np.int64(at), is_left


@driver
def land_waiting(tab, geo, lat, scratch, pool, body, rates, seed, r, k, window):
    """Cells of a patch's pool land in the window of the turn, each at a time of its own.

    The site is judged by the state at the beginning. Numbers of draws go on within the interval.
    """
    tab, geo, lat, scratch = pin(tab), pin(geo), pin(lat), pin(scratch)
    pool, body, rates = pin(pool), pin(body), pin(rates)
    compartment = geo.patches[k].compartment
    grid = pin(grid_of(geo, compartment))
    tile = pin(view_tile(tab, geo, lat, scratch.counts, scratch.tally, r, k, 0))
    address = Address(seed, body.progress[r].replicate, window, tile.unit)
    top = rates.spaces[compartment].arrive_top
    t, end = scratch.turn[0].begin, scratch.turn[0].end
    while pool.n[r, k] > 0 and top > 0.0:
        candidate = body.progress[r].candidate
        body.progress[r].candidate = candidate + 1
        a, b, c = rng.detail(
            seed, address.replicate, window, address.space, candidate, rng.ARRIVING
        )
        t -= logarithm(1.0 - a) / (pool.n[r, k] * top)
        if not t < end:
            break
        scratch.turn[0].attempts += 1
        x = b * pool.n[r, k] * top
        site, i = arrive(tab, geo, lat, tile, pool, body, rates, r, k, x, c, address, candidate)
        if site < 0:
            continue
        there = pin(
            view_tile(tab, geo, lat, scratch.counts, scratch.tally, r, k, tile_of(geo, grid, site))
        )
        s = np.int64(pool.cells[r, k, i].species)
        there.species[site] = s
        there.counts[0] -= 1
        there.counts[s] += 1
        land(tab, there, pool, r, k, i, site)
        tick = tick_of(scratch, t)
        there.stamp[site] = 0 if tick == 0 else stamp_of(tick)
        mend(tab, there, site)
        scratch.turn[0].executed += 1
