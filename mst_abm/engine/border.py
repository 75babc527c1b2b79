"""Cells with clocks of their own, and what a tile tells its neighbours.

Tiles take turns, so their clocks differ within a window. A cell that passes to another tile keeps its
time: it *waits* there, unable to act, until the tile's clock reaches it, or, when the tile is ahead,
catches up later. Times are kept in a byte, in 254 ticks of the window. At its end all clocks agree.

While a tile works it alone may touch sites of its neighbours, and it changes their species, counters
and stamps in place. Their lists it must not touch, for another tile at work may border on the same
neighbour; so it *posts* the sites, and the neighbour mends its list at its own turn. A post says no
more than that a site has changed, so repeated posts and their order do no harm.
"""

from __future__ import annotations

import math

import numpy as np

from mst_abm.engine.grid import tile_at
from mst_abm.engine.kernel import inlined, keep_apart, kernel
from mst_abm.engine.lists import add_waiting, delist, drop_waiting, enlist, first_waiting, reclass

LAST = 254  # tick at the end of a window; 0 at its beginning
POSTS_PER_EVENT = 32  # bound: a pushed chain of six cells posts two sites a step
DIRECTIONS, HERE = 27, 13  # (dx + 1) + 3 (dy + 1) + 9 (dz + 1)
OPPOSITE = 26  # minus d
FACES_FIRST = np.array(
    sorted(range(DIRECTIONS), key=lambda d: abs(d % 3 - 1) + abs(d // 3 % 3 - 1) + abs(d // 9 - 1))
)


@inlined
def tick_of(scratch, time):
    """Number of the nearest tick of the window."""
    return math.floor((time - scratch.turn[0].begin) * scratch.turn[0].ticks + 0.5)


@inlined
def time_of(turn, tick):
    return turn[0].begin + tick / turn[0].ticks


@inlined
def stamp_of(tick):
    """A tick as a byte; 0 is kept for cells without a clock of their own."""
    return np.uint8(1 + tick)


# the queue of waiting cells: a binary heap of tick * 2^16 + local number


@kernel
def enqueue(queue, turn, tick, local):
    """Note that a waiting cell joins in this turn."""
    i = turn[0].queued
    turn[0].queued = i + 1
    key = (tick << 16) | local
    while i > 0:
        parent = (i - 1) >> 1
        if queue[parent] <= key:
            break
        queue[i] = queue[parent]
        i = parent
    queue[i] = key
    turn[0].stop = min(turn[0].stop, time_of(turn, queue[0] >> 16))


@kernel
def dequeue(queue, turn):
    """Take the earliest entry; returns its key."""
    first = queue[0]
    n = turn[0].queued - 1
    turn[0].queued = n
    key = queue[n]
    i = 0
    while 2 * i + 1 < n:
        child = 2 * i + 1
        if child + 1 < n and queue[child + 1] < queue[child]:
            child += 1
        if queue[child] >= key:
            break
        queue[i] = queue[child]
        i = child
    queue[i] = key
    return first


@kernel
def fill_queue(tab, tile, scratch, first):
    """Queue the waiting cells whose clocks lie from tick ``first`` up to the end of the window."""
    keep_apart()
    scratch.turn[0].queued = 0
    for place in range(first_waiting(tile, tab.n_classes), tile.n):
        local = np.int64(tile.order[place])
        tick = np.int64(tile.stamp[tile.first + local]) - 1
        if first <= tick < LAST:
            enqueue(scratch.queue, scratch.turn, tick, local)


@inlined
def let_wait(tab, tile, scratch, site, tick, now):
    """Put the cell on a site of the tile among those that wait."""
    local = site - tile.first
    close_gap(tab, tile)
    add_waiting(tile, tab.n_classes, local)
    tile.stamp[site] = stamp_of(tick)
    expect(tab, tile, scratch, local, tick, now)


@inlined
def expect(tab, tile, scratch, local, tick, now):
    """Queue a cell that waits from now on, if it is to join in this turn."""
    if tick_of(scratch, now) < tick < LAST:
        if scratch.turn[0].queued == scratch.queue.shape[0]:
            # entries of cells that went elsewhere fill the queue: make it anew
            fill_queue(tab, tile, scratch, tick_of(scratch, now) + 1)
        else:
            enqueue(scratch.queue, scratch.turn, tick, local)


@kernel
def close_gap(tab, tile):
    """Shift the cells that catch up next to the others, when they touch those that wait."""
    n = tab.n_classes
    if tile.acting[n] < first_waiting(tile, n):
        return
    gap = tile.acting[0] - tile.listed[n]
    for place in range(tile.acting[0], tile.acting[n]):
        moved = tile.order[place]
        tile.order[place - gap] = moved
        tile.where[moved] = place - gap
    for c in range(n + 1):
        tile.acting[c] -= gap


@inlined
def is_waiting(tab, tile, local):
    """Whether a listed site waits; in exact mode never."""
    return tile.where[local] >= first_waiting(tile, tab.n_classes)


@inlined
def is_acting(tab, tile, local):
    place = tile.where[local]
    return tile.acting[0] <= place < tile.acting[tab.n_classes]


@inlined
def unlist(tab, tile, site, c):
    """Take a listed site of the tile out of its list, whichever it is; c: class of its cell."""
    local = site - tile.first
    if is_acting(tab, tile, local):
        delist(tile.order, tile.where, tile.acting, tab.n_classes, c, local)
    elif is_waiting(tab, tile, local):
        drop_waiting(tile, tab.n_classes, np.int64(tile.where[local]))
        tile.stamp[site] = 0
    else:
        delist(tile.order, tile.where, tile.listed, tab.n_classes, c, local)


@kernel
def relist(tab, tile, site, before, after):
    """A listed cell that does not act now has changed its class; -1 leaves the list."""
    keep_apart()
    local = site - tile.first
    if is_waiting(tab, tile, local):
        if after < 0:
            unlist(tab, tile, site, before)
        return
    if after >= 0:
        reclass(tile.order, tile.where, tile.listed, before, after, local)
    else:
        delist(tile.order, tile.where, tile.listed, tab.n_classes, before, local)


@inlined
def mend(tab, tile, site):
    """List a site of the tile as its content demands, whatever the list says of it."""
    local = site - tile.first
    n = tab.n_classes
    place = np.int64(tile.where[local])
    if place < tile.n and tile.order[place] == local:
        if place >= first_waiting(tile, n):
            drop_waiting(tile, n, place)
        elif place < tile.listed[n]:
            c = 0
            while place >= tile.listed[c + 1]:
                c += 1
            delist(tile.order, tile.where, tile.listed, n, c, local)
    c = tab.rows[tile.row + np.int64(tile.species[site])].class_of
    if c < 0:
        tile.stamp[site] = 0
    elif tile.stamp[site] == 0:
        enlist(tile.order, tile.where, tile.listed, n, c, local)
    else:
        add_waiting(tile, n, local)


# beyond the edge


@kernel
def find_neighbours(geo, grid, tile, scratch, is_settling):
    """Neighbours of a tile and the ticks they stand at, by direction, at the start of a turn.

    Those whose colours come later have not had their turn in this window, unless it is settled.
    """
    keep_apart()
    turn = scratch.turn
    own = geo.tiles[grid.tile_first + tile_at(geo, grid, tile.x, tile.y, tile.z)]
    i = geo.tile_along[grid.axis_first + tile.x]
    j = geo.tile_along[grid.axis_first + grid.nx + tile.y]
    k = geo.tile_along[grid.axis_first + grid.nx + grid.ny + tile.z]
    for d in range(DIRECTIONS):
        scratch.neighbour[d] = -1
        if d == HERE:
            continue
        a = beside(i, d % 3 - 1, grid.tiles_x, grid.periodic_x)
        b = beside(j, d // 3 % 3 - 1, grid.tiles_y, grid.periodic_y)
        c = beside(k, d // 9 - 1, grid.tiles_z, grid.periodic_z)
        if a < 0 or b < 0 or c < 0:
            continue
        t = a + grid.tiles_x * (b + grid.tiles_y * c)
        scratch.neighbour[d] = t
        is_later = (geo.tiles[grid.tile_first + t].colour > own.colour) != turn[0].is_backward
        scratch.clock[d] = 0 if is_later and not is_settling else LAST


@inlined
def beside(i, step, n, is_periodic):
    """Tile next to the i-th along an axis, -1 if there is none or it is the same one."""
    if step == 0:
        return i
    if n == 1 or ((i + step < 0 or i + step >= n) and not is_periodic):
        return -1
    return (i + step) % n


@inlined
def direction_of(geo, grid, scratch, site):
    """In which direction the tile lies that holds a site beyond the edge."""
    for i in range(DIRECTIONS):
        d = FACES_FIRST[i]
        t = scratch.neighbour[d]
        if t >= 0:
            if geo.tiles[grid.tile_first + t].first <= site < geo.tiles[grid.tile_first + t].last:
                return d
    return HERE


@inlined
def post(geo, grid, border, tile, scratch, site, d):
    """Tell the neighbour in direction d that its site has changed."""
    t = scratch.neighbour[d]
    n = border.n[tile.unit]
    border.posts[tile.unit, n].site = site - geo.tiles[grid.tile_first + t].first
    border.posts[tile.unit, n].next = border.heads[tile.unit, d]
    border.heads[tile.unit, d] = n + 1
    border.n[tile.unit] = n + 1
    if n + 1 + POSTS_PER_EVENT > border.posts.shape[1]:
        scratch.turn[0].is_full = True


@kernel
def pull(tab, geo, grid, border, tile, scratch):
    """Mend the list after what the neighbours did since the last turn, and clear the own outbox."""
    keep_apart()
    border.n[tile.unit] = 0
    border.heads[tile.unit, :] = 0
    # tiles of a patch are numbered in a row
    first_unit = tile.unit - tile_at(geo, grid, tile.x, tile.y, tile.z)
    for d in range(DIRECTIONS):
        if scratch.neighbour[d] < 0:
            continue
        sender = first_unit + scratch.neighbour[d]
        i = np.int64(border.heads[sender, OPPOSITE - d])
        while i > 0:
            mend(tab, tile, tile.first + np.int64(border.posts[sender, i - 1].site))
            i = np.int64(border.posts[sender, i - 1].next)


@inlined
def own_tick(tab, geo, grid, tile, scratch, site, now):
    """The tick up to which the acting cell on a site, of this tile or a neighbour, has lived."""
    local = site - tile.first
    if 0 <= local < tile.n:
        if is_acting(tab, tile, local):
            return tick_of(scratch, now)
        if not is_waiting(tab, tile, local):
            return LAST
    if tile.stamp[site] != 0:
        return np.int64(tile.stamp[site]) - 1
    return scratch.clock[direction_of(geo, grid, scratch, site)]


@inlined
def hand_over(tab, geo, grid, border, tile, scratch, site, tick):
    """A cell has come onto a site beyond the edge, having lived up to a tick; or left it."""
    d = direction_of(geo, grid, scratch, site)
    is_idle = tab.rows[tile.row + np.int64(tile.species[site])].class_of < 0
    tile.stamp[site] = 0 if is_idle or tick == scratch.clock[d] else stamp_of(tick)
    post(geo, grid, border, tile, scratch, site, d)
