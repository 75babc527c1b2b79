"""Changes of sites: every one keeps lists, clocks and counts in step with what stands where.

The plain case, an acting cell and a site of its own tile, is merged into the event loop; whatever touches
a waiting cell or a neighbour's site is a call away (`mst_abm.engine.border`).
"""

from __future__ import annotations

import numpy as np

from mst_abm.engine.border import (
    close_gap,
    direction_of,
    expect,
    hand_over,
    is_acting,
    is_waiting,
    let_wait,
    own_tick,
    post,
    relist,
    tick_of,
    unlist,
)
from mst_abm.engine.cells import copy_identity, swap_identity
from mst_abm.engine.grid import locate, shifted
from mst_abm.engine.kernel import inlined, keep_apart, kernel
from mst_abm.engine.lists import delist, enlist, first_waiting, reclass


@inlined
def class_of(tab, tile, species):
    return tab.rows[tile.row + np.int64(species)].class_of


@inlined
def is_own(tile, site):
    return 0 <= site - tile.first < tile.n


@inlined
def set_species(tab, geo, grid, border, tile, scratch, site, new, now):
    """Put a species (or 0) on a site."""
    old = np.int64(tile.species[site])
    if old == new:
        return
    before, after = class_of(tab, tile, old), class_of(tab, tile, new)
    tile.species[site] = new
    tile.counts[old] -= 1
    tile.counts[new] += 1
    if tile.counts[new] == 1:
        scratch.turn[0].has_appeared = True
    if before == after:
        return
    local = site - tile.first
    if not is_own(tile, site):
        change_beyond(tab, geo, grid, border, tile, scratch, site, old, before, after, now)
    elif before >= 0 and not is_acting(tab, tile, local):
        relist(tab, tile, site, before, after)
    elif after < 0:
        delist(tile.order, tile.where, tile.acting, tab.n_classes, before, local)
    elif before >= 0:
        reclass(tile.order, tile.where, tile.acting, before, after, local)
    else:
        if tile.acting[tab.n_classes] >= first_waiting(tile, tab.n_classes):
            close_gap(tab, tile)
        enlist(tile.order, tile.where, tile.acting, tab.n_classes, after, local)


@kernel
def change_beyond(tab, geo, grid, border, tile, scratch, site, old, before, after, now):
    """A neighbour's site has another species. A cell that is new, or acts only now, lives from now
    on; one that acted before keeps its clock.
    """
    keep_apart()
    if old == 0 or before < 0:
        hand_over(tab, geo, grid, border, tile, scratch, site, tick_of(scratch, now))
        return
    if after < 0:
        tile.stamp[site] = 0
    post(geo, grid, border, tile, scratch, site, direction_of(geo, grid, scratch, site))


@inlined
def copy_content(tab, tile, a, b):
    """Species, counters and identity of site a onto site b."""
    tile.species[b] = tile.species[a]
    if tab.has_counters:
        tile.counters[b] = tile.counters[a]
    if tab.has_identity:
        copy_identity(tile.identity, a, tile.identity, b)


@inlined
def move_cell(tab, geo, grid, border, tile, scratch, a, b, place, now):
    """Carry the acting cell on site a, at ``place`` in the list, to the vacant site b."""
    if not is_own(tile, b):
        carry(tab, geo, grid, border, tile, scratch, a, b, now)
        return
    copy_content(tab, tile, a, b)
    tile.species[a] = 0
    tile.where[b - tile.first] = place
    tile.order[place] = b - tile.first


@kernel
def carry(tab, geo, grid, border, tile, scratch, a, b, now):
    """Carry any cell from site a to the vacant site b, of this tile or a neighbour."""
    keep_apart()
    c = class_of(tab, tile, tile.species[a])
    a_own, b_own = is_own(tile, a), is_own(tile, b)
    tick = np.int64(0)
    if c >= 0 and not (a_own and b_own):
        tick = own_tick(tab, geo, grid, tile, scratch, a, now)
        if a_own:
            unlist(tab, tile, a, c)
    copy_content(tab, tile, a, b)
    tile.species[a] = 0
    if c < 0:
        return
    if a_own and b_own:
        place = tile.where[a - tile.first]
        tile.where[b - tile.first] = place
        tile.order[place] = b - tile.first
        if is_waiting(tab, tile, b - tile.first):
            keep_waiting(tab, tile, scratch, a, b, now)
        return
    if not a_own:
        hand_over(tab, geo, grid, border, tile, scratch, a, tick)
    if b_own:
        let_wait(tab, tile, scratch, b, tick, now)
    else:
        hand_over(tab, geo, grid, border, tile, scratch, b, tick)


@kernel
def keep_waiting(tab, tile, scratch, a, b, now):
    """A waiting cell has been carried from site a to site b of the tile: its stamp follows."""
    tile.stamp[b] = tile.stamp[a]
    tile.stamp[a] = 0
    expect(tab, tile, scratch, b - tile.first, np.int64(tile.stamp[b]) - 1, now)


@kernel
def swap_cells(tab, geo, grid, border, tile, scratch, a, b, now):
    """The acting cell on site a of the tile and the cell on site b, here or beyond, change places."""
    keep_apart()
    s, t = tile.species[a], tile.species[b]
    of_s, of_t = class_of(tab, tile, s), class_of(tab, tile, t)
    tick = np.int64(0)
    if is_own(tile, b):
        p, q = tile.where[a - tile.first], tile.where[b - tile.first]
        tile.where[b - tile.first] = p
        tile.order[p] = b - tile.first
        if of_t >= 0:
            tile.where[a - tile.first] = q
            tile.order[q] = a - tile.first
            if is_waiting(tab, tile, a - tile.first):
                keep_waiting(tab, tile, scratch, b, a, now)
    else:
        if of_t >= 0:
            tick = own_tick(tab, geo, grid, tile, scratch, b, now)
        unlist(tab, tile, a, of_s)
    tile.species[a], tile.species[b] = t, s
    if tab.has_counters:
        c, d = tile.counters[a], tile.counters[b]
        tile.counters[a], tile.counters[b] = d, c
    if tab.has_identity:
        swap_identity(tile.identity, a, b)
    if not is_own(tile, b):
        hand_over(tab, geo, grid, border, tile, scratch, b, tick_of(scratch, now))
        if of_t >= 0:
            let_wait(tab, tile, scratch, a, tick, now)


@kernel
def n_vacant_neighbours(geo, grid, tile, x, y, z):
    """Vacant sites beside a place."""
    keep_apart()
    direction = geo.direction[tile.compartment]
    free = 0
    for d in range(geo.spaces[tile.compartment].neighbours):
        other = shifted(
            geo, grid, tile, x, y, z,
            np.int64(direction[d, 0]), np.int64(direction[d, 1]), np.int64(direction[d, 2]),
        )  # fmt: skip
        if other >= 0 and tile.species[other] == 0:
            free += 1
    return free


@kernel
def vacant_neighbour(geo, grid, tile, local, u):
    """A vacant neighbour drawn uniformly by u in [0, 1), or -1."""
    keep_apart()
    x, y, z = locate(tile, local)
    direction = geo.direction[tile.compartment]
    n = geo.spaces[tile.compartment].neighbours
    free = n_vacant_neighbours(geo, grid, tile, x, y, z)
    if free == 0:
        return -1
    wanted = min(int(u * free), free - 1)
    for d in range(n):
        other = shifted(
            geo, grid, tile, x, y, z,
            np.int64(direction[d, 0]), np.int64(direction[d, 1]), np.int64(direction[d, 2]),
        )  # fmt: skip
        if other >= 0 and tile.species[other] == 0:
            if wanted == 0:
                return other
            wanted -= 1
    return -1


@kernel
def chain_to(tab, geo, grid, tile, path, x, y, z, dx, dy, dz, u):
    """Sites from (x, y, z) to the offset, one axis step each; 0 if a static cell bars the way.

    Every step goes along an axis that has steps left, chosen in proportion to them, so that
    no axis is preferred. Fills path[0..n), path[n - 1] the vacancy, and returns n.
    """
    left_x, left_y, left_z = abs(dx), abs(dy), abs(dz)
    sx, sy, sz = np.sign(dx), np.sign(dy), np.sign(dz)
    n = left_x + left_y + left_z
    px = py = pz = 0
    for i in range(n):
        scaled = u * (n - i)
        pick = min(int(scaled), n - i - 1)
        u = scaled - pick
        if pick < left_x:
            left_x -= 1
            px += sx
        elif pick < left_x + left_y:
            left_y -= 1
            py += sy
        else:
            left_z -= 1
            pz += sz
        site = shifted(geo, grid, tile, x, y, z, px, py, pz)
        if site < 0 or (i < n - 1 and tab.rows[tile.row + np.int64(tile.species[site])].is_static):
            return 0
        path[i] = site
    return n


@kernel
def vacant_in_shell(geo, grid, tile, ball, x, y, z, shell, end, wanted):
    """Number of the ``wanted``-th vacant offset of a shell; without so many, minus their number."""
    found = 0
    for o in range(shell, end):
        dx, dy, dz = np.int64(ball[o, 0]), np.int64(ball[o, 1]), np.int64(ball[o, 2])
        goal = shifted(geo, grid, tile, x, y, z, dx, dy, dz)
        if goal >= 0 and tile.species[goal] == 0:
            if found == wanted:
                return o
            found += 1
    return -found


@kernel
def push_outwards(tab, geo, grid, border, tile, scratch, local, reach, u, v, now):
    """Shift the chain of cells towards the nearest vacancy within ``reach`` sites.

    Among vacancies at equal distance one is drawn; when a static cell bars its way, the next is tried.
    A vacancy met on the way ends the chain there. Returns the site next to the mother that fell
    vacant, or -1.
    """
    keep_apart()
    ball_row = geo.spaces[tile.compartment].ball_row
    ball = geo.ball[ball_row]
    count = geo.ball_count[ball_row, reach]
    path = scratch.path
    x, y, z = locate(tile, local)
    shell = 0
    while shell < count:
        far = np.int64(ball[shell, 0]) ** 2 + np.int64(ball[shell, 1]) ** 2
        far += np.int64(ball[shell, 2]) ** 2
        end = shell
        while end < count:
            d = np.int64(ball[end, 0]) ** 2 + np.int64(ball[end, 1]) ** 2
            if d + np.int64(ball[end, 2]) ** 2 != far:
                break
            end += 1
        vacant = -vacant_in_shell(geo, grid, tile, ball, x, y, z, shell, end, -1)
        start = min(int(u * vacant), vacant - 1)
        for i in range(vacant):
            o = vacant_in_shell(
                geo, grid, tile, ball, x, y, z, shell, end, (start + i) % vacant
            )  # fmt: skip
            dx, dy, dz = np.int64(ball[o, 0]), np.int64(ball[o, 1]), np.int64(ball[o, 2])
            n = chain_to(tab, geo, grid, tile, path, x, y, z, dx, dy, dz, v)
            if n == 0:
                continue
            stop = 0
            while tile.species[path[stop]] != 0:
                stop += 1
            for q in range(stop, 0, -1):
                carry(tab, geo, grid, border, tile, scratch, path[q - 1], path[q], now)
            return path[0]
        shell = end
    return -1
