"""Exact events on one tile: direct method over rate classes, with null events.

A candidate event costs the same however many cells there are:

    1. waiting time       exponential / R,  R = sum over classes of n_c top_c
    2. class, cell        uniform over the cells of a class drawn by weight n_c top_c
    3. what it does       channel by rate, or nothing with probability 1 - rate / top_c
    4. where and whether  direction, vacancy, partner, local modifiers: accept or nothing

R is computed from integer counts, never accumulated; top_c is raised when a faster species appears. Source: Gillespie 1976,
doi:10.1016/0021-9991(76)90041-3; null events: Schulze 2008, doi:10.1016/j.jcp.2007.10.021.

In exact mode a patch is one tile and runs through an exchange interval in one turn. In tiled mode
(`mst_abm.engine.tiles`) many tiles take turns of a window each; cells that wait join on the way.
"""

from __future__ import annotations

import numpy as np

from mst_abm.engine import rng
from mst_abm.engine.border import dequeue, stamp_of, time_of
from mst_abm.engine.cells import (
    Address,
    child_identity,
    copy_identity,
    new_id,
    table_value,
    updated_counters,
)
from mst_abm.engine.changes import (
    is_own,
    move_cell,
    push_outwards,
    set_species,
    swap_cells,
    vacant_neighbour,
)
from mst_abm.engine.fields import sensed_place, turns_round
from mst_abm.engine.grid import (
    count_within,
    grid_of,
    locate,
    shifted,
    tile_of,
    view_tile,
)
from mst_abm.engine.kernel import keep_apart, kernel, natural, prefetch
from mst_abm.engine.lists import drop_waiting, enlist
from mst_abm.engine.pin import pin
from mst_abm.engine.rng import BLOCK, TWO_M32
from mst_abm.engine.signals import heed_appeared
from mst_abm.engine.status import DONE, NEED_OUTBOX, NEED_POSTS, OUT_OF_DRAWS
from mst_abm.engine.tables import (
    ATTEMPT,
    BECOME,
    COUNTER,
    DIE,
    DIVIDE,
    EMIT,
    FIELD,
    LEAVE,
    MOVE,
    NEAR,
    PAIR,
    VACANT,
    Scratch,
)

MASK32 = 0xFFFFFFFF
LANDING_TRIES = 1024
AHEAD = 32  # candidates whose cells are fetched from memory together; divides BLOCK
LARGE = 8192  # sites from which a tile no longer lies in the nearest cache


@kernel
def acceptance(tab, geo, grid, tile, first, last, local, counters):
    """Product of local modifiers at a place, each divided by its bound: a probability."""
    keep_apart()
    ball_row = geo.spaces[tile.compartment].ball_row
    p = 1.0
    for m in range(first, last):
        kind, target = tab.modifiers[m].kind, tab.modifiers[m].target
        if kind == NEAR:
            x = count_within(
                geo,
                grid,
                tile,
                tab.pattern_mask[target],
                geo.ball[ball_row],
                geo.ball_count[ball_row, tab.modifiers[m].reach],
                local,
            )
        elif kind == COUNTER:
            x = (np.int64(counters) >> target) & tab.modifiers[m].reach
        elif kind == FIELD:
            p *= tile.sensed[sensed_place(tab, tile, target, local)]
            continue
        else:
            x = np.int64(tile.fields[target, tile.first + local])
        p *= table_value(tab, m, x)
    return p


@kernel
def weigh(bounds, classes, weight, n_classes, waiting, arrive_top):
    """Weight of each class and of the waiting pool, from integer counts; returns the sum."""
    total = 0.0
    for c in range(n_classes):
        w = (bounds[c + 1] - bounds[c]) * classes[c].top
        weight[c] = w
        total += w
    w = waiting * arrive_top
    weight[n_classes] = w
    return total + w


@kernel
def guess_in_class(guess, choice, begin, slope, start):
    """Places of the draws at or beyond the first of a class; the loop is made of vectors."""
    for j in range(BLOCK):
        guess[j] = choice[j] * slope + start if choice[j] >= begin else guess[j]


@kernel
def guess_places(draws, weight, classes, bounds, n_classes, total, order):
    """Places in the list of a block's candidates, were nothing to happen meanwhile.

    Cells drawn at random are seldom in a near cache. Asked for ahead of time they are waited for
    together, not one after another; a guess gone wrong changes nothing but the waiting.
    """
    guess, words = draws.fraction, draws.words  # no longer needed as what they were
    below = 0.0
    for c in range(n_classes):
        start = bounds[c] - below * classes[c].inverse
        guess_in_class(guess, draws.choice, below / total, total * classes[c].inverse, start)
        below += weight[c]
    last = max(bounds[n_classes] - 1, 0)
    for j in range(BLOCK):
        place = min(max(int(guess[j]), 0), last)
        words[j] = place
        prefetch(order, place)


@kernel
def fetch_sites(draws, first, tile, directions, neighbours, has_counters):
    """Ask for the sites of the next candidates and for the neighbours they may look at."""
    for j in range(first, first + AHEAD):
        j = natural(j)
        local = np.int64(tile.order[draws.words[j]])
        site = tile.first + local
        d = natural((draws.direction[j] * neighbours) >> 32)
        step = np.int64(directions[d, 0]) + tile.nx * (
            np.int64(directions[d, 1]) + tile.ny * np.int64(directions[d, 2])
        )
        prefetch(tile.species, site)
        if has_counters:
            prefetch(tile.counters, site)
        prefetch(tile.where, local)
        prefetch(tile.species, site + step)


@kernel
def choose_landing(tab, geo, lat, tile, r, k, row, counters, u, address, candidate):
    """A vacant, allowed site of the patch for a waiting cell, or -1.

    Random sites are tried first (the try is part of the draw's address, above the window); when all
    fail, the allowed vacant sites are weighed and one is drawn, so the choice is uniform and a
    full patch costs two scans. ``tile``: any tile of the patch.
    """
    keep_apart()
    first, last = tab.rows[row].arrive_modifier_first, tab.rows[row].arrive_modifier_last
    grid = pin(grid_of(geo, tile.compartment))
    n = tile.species.shape[0]
    for trial_number in range(LANDING_TRIES):
        a, b, _ = rng.detail(
            address.seed, address.replicate, address.window + (trial_number << 20), address.space,
            candidate, rng.LANDING,
        )  # fmt: skip
        site = min(int(a * n), n - 1)
        if tile.species[site] == 0:
            if first == last:
                return site
            there = pin(
                view_tile(tab, geo, lat, tile.counts, tile.tally, r, k, tile_of(geo, grid, site))
            )
            if b < acceptance(tab, geo, grid, there, first, last, site - there.first, counters):
                return site
    chosen = -1
    for is_drawn in range(2):
        total = 0.0
        for i in range(grid.tiles_x * grid.tiles_y * grid.tiles_z):
            there = pin(view_tile(tab, geo, lat, tile.counts, tile.tally, r, k, i))
            for local in range(there.n):
                if tile.species[there.first + local] == 0:
                    p = acceptance(tab, geo, grid, there, first, last, local, counters)
                    if p > 0.0 and is_drawn:
                        chosen = there.first + local
                        if u < p:
                            return chosen
                        u -= p
                    total += p
        u *= total
    return chosen


@kernel
def arrive(tab, geo, lat, tile, pool, body, rates, r, k, x, u, address, candidate):
    """A waiting cell finds a site to land on: (site, species, counters, place in the pool).

    Site -1: nothing happens. ``x``: draw in [0, number waiting x greatest rate).
    """
    keep_apart()
    waiting = pool.n[r, k]
    top = rates.spaces[tile.compartment].arrive_top
    i = min(int(x / top), waiting - 1)
    s = np.int64(pool.cells[r, k, i].species)
    row = tile.row + s
    if x - i * top >= rates.rows[row].arrive:
        return np.int64(-1), i
    counters = pool.cells[r, k, i].counters
    site = choose_landing(tab, geo, lat, tile, r, k, row, counters, u, address, candidate)
    return np.int64(site), i


@kernel
def land(tab, tile, pool, r, k, i, site):
    """The rest of an arrival, its species being set: counters, identity, and out of the pool."""
    keep_apart()
    depth = pool.cells.shape[2]
    species = np.int64(pool.cells[r, k, i].species)
    if tab.has_counters:
        tile.counters[site] = pool.cells[r, k, i].counters
    if tab.has_identity:
        copy_identity(pool.identity[r], k * depth + i, tile.identity, site)
    end = pool.n[r, k] - 1
    pool.cells[r, k, i].species = pool.cells[r, k, end].species
    pool.cells[r, k, i].counters = pool.cells[r, k, end].counters
    if tab.has_identity:
        copy_identity(pool.identity[r], k * depth + end, pool.identity[r], k * depth + i)
    pool.n[r, k] = end
    tile.tally[tab.rows[tile.row + species].arrive_tally] += 1


@kernel
def send(tab, tile, scratch, time, species, counters, destination, copies, origin):
    """Append to the cells sent; ``origin`` the site they leave, -1 for emitted product."""
    keep_apart()
    n = scratch.sent_n[0]
    scratch.sent[n].time = time
    scratch.sent[n].species = species
    scratch.sent[n].counters = counters
    scratch.sent[n].destination = destination
    scratch.sent[n].copies = copies
    scratch.sent[n].unit = tile.unit
    if tab.has_identity:
        if origin >= 0:
            copy_identity(tile.identity, origin, scratch.sent_identity, n)
        else:
            scratch.sent_identity[n].id = 0
    scratch.sent_n[0] = n + 1


@kernel
def join(tab, tile, scratch):
    """Waiting cells whose time has come begin to act."""
    keep_apart()
    turn = scratch.turn
    tick = scratch.queue[0] >> 16
    n = tab.n_classes
    while turn[0].queued > 0 and scratch.queue[0] >> 16 == tick:
        local = dequeue(scratch.queue, turn) & 0xFFFF
        site = tile.first + local
        # an entry outlives its cell's going elsewhere
        if tile.stamp[site] != stamp_of(tick):
            continue
        drop_waiting(tile, n, np.int64(tile.where[local]))
        tile.stamp[site] = 0
        c = tab.rows[tile.row + np.int64(tile.species[site])].class_of
        enlist(tile.order, tile.where, tile.acting, n, c, local)


@kernel
def next_stop(scratch, end):
    """When the next waiting cell joins, or the end of the turn."""
    if scratch.turn[0].queued == 0:
        return end
    return min(end, time_of(scratch.turn, scratch.queue[0] >> 16))


@kernel
def run_tile(
    tab, geo, grid, lat, border, tile, scratch, pool, body, rates, draws, seed, r, k, window, end,
    is_whole,
):  # fmt: skip
    """Let the acting cells of a tile live from ``scratch.turn.time`` to ``end``; returns a status.

    When a table is full the time and the candidate reached are kept in the turn and the same call,
    made again after enlarging it, goes on to the same bits. ``is_whole``: the tile is the patch, and
    cells from its pool land as events; else they landed before the turns.
    """
    turn = scratch.turn
    address = Address(seed, body.progress[r].replicate, window, tile.unit)
    n_species, n_classes = tab.n_species, tab.n_classes
    species, order, bounds, first_site = tile.species, tile.order, tile.acting, tile.first
    tally = tile.tally
    classes = rates.classes[tile.compartment]
    weight = rates.weight[0]
    arrive_top = rates.spaces[tile.compartment].arrive_top
    landing = pool.n[r, k] if is_whole else 0
    neighbours = geo.spaces[tile.compartment].neighbours
    directions = geo.direction[tile.compartment]
    ball_row = geo.spaces[tile.compartment].ball_row
    ball = geo.ball[ball_row]
    waiting, choice, direction = draws.waiting, draws.choice, draws.direction

    t, drawn = turn[0].time, turn[0].candidate
    turn[0].stop = next_stop(scratch, end)
    total = weigh(bounds, classes, weight, n_classes, landing, arrive_top)
    is_large = tile.n >= LARGE
    drawn -= BLOCK
    j = pause = BLOCK
    attempts = 0
    executed = 0
    status = DONE
    while True:
        if j == pause:
            if j == BLOCK:
                drawn += BLOCK
                rng.fill_block(draws, seed, address.replicate, window, address.space, drawn)
                j, pause = 0, BLOCK
                if is_large:
                    pause = 0
                    guess_places(draws, weight, classes, bounds, n_classes, total, order)
            if is_large:
                pause += AHEAD
                fetch_sites(draws, j, tile, directions, neighbours, tab.has_counters)
        now = t + waiting[j] / total
        if not now < turn[0].stop:
            # what is left of this waiting time is forgotten, which an exponential allows
            t = turn[0].stop
            j += 1
            if not t < end:
                break
            join(tab, tile, scratch)
            turn[0].stop = next_stop(scratch, end)
            total = weigh(bounds, classes, weight, n_classes, landing, arrive_top)
            continue
        before = t
        j = natural(j)
        x = choice[j] * total
        word = direction[j]
        candidate = drawn + j
        j += 1
        attempts += 1

        c = 0
        while c < n_classes and x >= weight[c]:
            x -= weight[c]
            c = natural(c + 1)
        if c == n_classes:
            t = now
            if landing > 0 and arrive_top > 0.0:
                other, i = arrive(
                    tab, geo, lat, tile, pool, body, rates, r, k, x, word * TWO_M32, address,
                    candidate,
                )  # fmt: skip
                if other >= 0:
                    s = np.int64(pool.cells[r, k, i].species)
                    set_species(tab, geo, grid, border, tile, scratch, other, s, now)
                    land(tab, tile, pool, r, k, i, other)
                    executed += 1
                    landing -= 1
                    if turn[0].has_appeared:
                        turn[0].has_appeared = False
                        heed_appeared(tab, body, rates, r, tile.compartment)
                    total = weigh(bounds, classes, weight, n_classes, landing, arrive_top)
            continue
        i = int(x * classes[c].inverse)
        i = min(i, bounds[c + 1] - bounds[c] - 1)
        v = max(x - i * classes[c].top, 0.0)
        place = natural(bounds[c] + i)
        local = natural(np.int64(order[place]))
        site = natural(first_site + local)
        s = np.int64(species[site])
        row = natural(tile.row + s)
        single = rates.rows[row].single
        t = now
        if v < single:
            ch = natural(tab.rows[row].channel_first)
            while v >= rates.cumulative[ch]:
                ch = natural(ch + 1)
        else:
            v -= single
            if v >= rates.rows[row].paired:
                continue
            ch = natural(tab.rows[row].pair_start)
            while v >= rates.cumulative[ch]:
                ch = natural(ch + 1)
        verb = tab.channels[ch].verb
        mod_first, mod_last = tab.channels[ch].modifier_first, tab.channels[ch].modifier_last
        own = tile.counters[site] if tab.has_counters else np.uint16(0)

        if verb == MOVE:
            product = word * neighbours
            d = natural(product >> 32)
            lx, ly, lz = locate(tile, local)
            dx, dy = np.int64(directions[d, 0]), np.int64(directions[d, 1])
            dz = np.int64(directions[d, 2])
            if tab.channels[ch].steer >= 0:
                if turns_round(tab, tile, ch, local, dx, dy, dz, address, candidate):
                    dx, dy, dz = -dx, -dy, -dz
            other = shifted(geo, grid, tile, lx, ly, lz, dx, dy, dz)
            if other < 0:
                continue
            occupant = species[other]
            if occupant != 0:
                if (
                    tab.channels[ch].swap < 0
                    or not tab.pattern_mask[tab.channels[ch].swap, occupant]
                ):
                    continue
            if mod_first < mod_last:
                u = (product & MASK32) * TWO_M32
                if u >= acceptance(tab, geo, grid, tile, mod_first, mod_last, local, own):
                    continue
            if occupant == 0:
                move_cell(
                    tab, geo, grid, border, tile, scratch, site, natural(other), place, now
                )  # fmt: skip
            else:
                swap_cells(tab, geo, grid, border, tile, scratch, site, other, now)
            tally[tab.channels[ch].tally] += 1
            executed += 1
            if is_own(tile, other):
                continue
        elif verb == PAIR:
            reach = tab.channels[ch].reach
            n_offsets = neighbours if reach == 0 else geo.ball_count[ball_row, reach]
            product = word * n_offsets
            d = natural(product >> 32)
            lx, ly, lz = locate(tile, local)
            offset = directions[d] if reach == 0 else ball[d]
            other = shifted(
                geo, grid, tile, lx, ly, lz,
                np.int64(offset[0]), np.int64(offset[1]), np.int64(offset[2]),
            )  # fmt: skip
            if other < 0:
                continue
            pair = tab.channels[ch].pair_table * n_species + np.int64(species[other])
            e, e_last = tab.entry_range[pair, 0], tab.entry_range[pair, 1]
            w = (product & MASK32) * TWO_M32 * rates.pair_top[tab.channels[ch].pair_table]
            while e < e_last and w >= rates.entry[e]:
                e += 1
            if e == e_last:
                continue
            mod_first, mod_last = tab.entries[e].modifier_first, tab.entries[e].modifier_last
            if mod_first < mod_last:
                _, u, _ = rng.detail(
                    seed, address.replicate, window, address.space, candidate, rng.DETAIL
                )
                if u >= acceptance(tab, geo, grid, tile, mod_first, mod_last, local, own):
                    continue
            if tab.has_counters:
                theirs = tile.counters[other]
                tile.counters[site] = updated_counters(
                    tab, tab.entries[e].update_a, own, address, candidate, 0
                )
                tile.counters[other] = updated_counters(
                    tab, tab.entries[e].update_b, theirs, address, candidate, 1
                )
            set_species(
                tab, geo, grid, border, tile, scratch, site, tab.entries[e].product_a, now
            )  # fmt: skip
            set_species(
                tab, geo, grid, border, tile, scratch, other, tab.entries[e].product_b, now
            )  # fmt: skip
            tally[tab.entries[e].tally] += 1
            executed += 1
        elif verb == DIVIDE:
            product = word * neighbours
            u = (product & MASK32) * TWO_M32
            if mod_first < mod_last:
                p = acceptance(tab, geo, grid, tile, mod_first, mod_last, local, own)
                if u >= p:
                    continue
                u /= p
            placement = tab.channels[ch].placement
            if placement == ATTEMPT:
                d = natural(product >> 32)
                lx, ly, lz = locate(tile, local)
                other = shifted(
                    geo, grid, tile, lx, ly, lz,
                    np.int64(directions[d, 0]), np.int64(directions[d, 1]),
                    np.int64(directions[d, 2]),
                )  # fmt: skip
                if other < 0 or species[other] != 0:
                    continue
            elif placement == VACANT:
                other = vacant_neighbour(geo, grid, tile, local, u)
            else:
                a, b, _ = rng.detail(
                    seed, address.replicate, window, address.space, candidate, rng.DETAIL
                )
                other = push_outwards(
                    tab, geo, grid, border, tile, scratch, local, tab.channels[ch].push, a, b, now
                )
            if other < 0:
                continue
            set_species(
                tab, geo, grid, border, tile, scratch, other, tab.channels[ch].product_b, now
            )  # fmt: skip
            set_species(
                tab, geo, grid, border, tile, scratch, site, tab.channels[ch].product_a, now
            )  # fmt: skip
            if tab.has_counters:
                tile.counters[site] = updated_counters(
                    tab, tab.channels[ch].update_a, own, address, candidate, 0
                )
                tile.counters[other] = updated_counters(
                    tab, tab.channels[ch].update_b, own, address, candidate, 1
                )
            if tab.has_identity:
                born = body.births[r, tile.unit]
                body.births[r, tile.unit] = born + 2
                mother = tile.identity
                child_identity(mother, site, other, now, new_id(window, tile.unit, born + 1))
                child_identity(mother, site, site, now, new_id(window, tile.unit, born))
            tally[tab.channels[ch].tally] += 1
            executed += 1
        else:
            if mod_first < mod_last:
                if word * TWO_M32 >= acceptance(
                    tab, geo, grid, tile, mod_first, mod_last, local, own
                ):
                    continue
            if verb == DIE or verb == BECOME:
                if tab.has_counters:
                    tile.counters[site] = updated_counters(
                        tab, tab.channels[ch].update_a, own, address, candidate, 0
                    )
                set_species(
                    tab, geo, grid, border, tile, scratch, site, tab.channels[ch].product_a, now
                )  # fmt: skip
            elif verb == LEAVE or verb == EMIT:
                if scratch.sent_n[0] == scratch.sent.shape[0]:
                    t = before
                    status = NEED_OUTBOX
                    attempts -= 1
                    j -= 1
                    break
                a, _, _ = rng.detail(
                    seed, address.replicate, window, address.space, candidate, rng.DETAIL
                )
                copies = int(tab.channels[ch].copies)
                if a < tab.channels[ch].copies - copies:
                    copies += 1
                carried = np.uint16(0)
                if tab.has_counters:
                    update = (
                        tab.channels[ch].update_a if verb == LEAVE else tab.channels[ch].update_b
                    )
                    carried = updated_counters(tab, update, own, address, candidate, 0)
                if copies > 0:
                    origin = site if verb == LEAVE else -1
                    sent = (
                        tab.channels[ch].product_a if verb == LEAVE else tab.channels[ch].product_b
                    )
                    send(
                        tab, tile, scratch, now, sent, carried, tab.channels[ch].destination,
                        copies, origin,
                    )  # fmt: skip
                if verb == LEAVE:
                    set_species(tab, geo, grid, border, tile, scratch, site, 0, now)
            tally[tab.channels[ch].tally] += 1
            executed += 1
        if is_whole and turn[0].has_appeared:
            turn[0].has_appeared = False
            heed_appeared(tab, body, rates, r, tile.compartment)
        total = weigh(bounds, classes, weight, n_classes, landing, arrive_top)
        if turn[0].is_full:
            status = NEED_POSTS
            break
    turn[0].attempts += attempts
    turn[0].executed += executed
    turn[0].time = t
    turn[0].candidate = drawn + j
    if status != DONE:
        return status
    return DONE if drawn < MASK32 - BLOCK else OUT_OF_DRAWS


@kernel
def whole_scratch(tab, geo, out, scratch, r, k):
    """The thread's scratch with the patch's outbox in the place of its own list of cells sent."""
    depth = out.cells.shape[2]
    held = out.identity[r, k * depth : (k + 1) * depth] if tab.has_identity else out.identity[r]
    return Scratch(
        scratch.turn, scratch.path, scratch.late, scratch.neighbour, scratch.clock, scratch.queue,
        scratch.counts, scratch.tally, out.n[r, k : k + 1], out.cells[r, k], held,
    )  # fmt: skip


@kernel
def advance_patch(
    tab, geo, lat, border, pool, out, body, rates, draws, scratch, seed, r, k, begin, end, window
):
    """Run a patch that is one tile from ``begin`` to ``end``; returns a status.

    When the outbox is full the time and the candidate reached are kept in ``body``.
    """
    compartment = geo.patches[k].compartment
    tile = pin(view_tile(tab, geo, lat, body.counts[r, compartment], body.tally[r], r, k, 0))
    turn = scratch.turn
    progress = body.progress
    turn[0].attempts = turn[0].executed = 0
    turn[0].queued = 0
    turn[0].is_full = turn[0].has_appeared = False
    turn[0].candidate = progress[r].candidate
    turn[0].time = begin
    if progress[r].candidate > 0:
        turn[0].time = progress[r].time
    status = run_tile(
        tab, geo, pin(grid_of(geo, compartment)), lat, border, tile,
        pin(whole_scratch(tab, geo, out, scratch, r, k)), pool, body, rates, draws, seed, r, k,
        window, end, True,
    )  # fmt: skip
    progress[r].attempts += turn[0].attempts
    progress[r].executed += turn[0].executed
    progress[r].time = turn[0].time
    progress[r].candidate = 0 if status == DONE else turn[0].candidate
    return status
