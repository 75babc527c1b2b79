"""Exact events on one patch: direct method over rate classes, with null events.

A candidate event costs the same however many cells there are:

    1. waiting time       exponential / R,  R = sum over classes of n_c top_c
    2. class, cell        uniform over the cells of a class drawn by weight n_c top_c
    3. what it does       channel by rate, or nothing with probability 1 - rate / top_c
    4. where and whether  direction, vacancy, partner, local modifiers: accept or nothing

R is computed from integer counts, never accumulated. Source: Gillespie 1976,
doi:10.1016/0021-9991(76)90041-3; null events: Schulze 2008, doi:10.1016/j.jcp.2007.10.021.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mst_abm.engine import rng
from mst_abm.engine.cells import (
    Address,
    child_identity,
    copy_identity,
    new_id,
    swap_identity,
    table_value,
    updated_counters,
)
from mst_abm.engine.grid import count_within, delist, enlist, grid_of, locate, shifted
from mst_abm.engine.kernel import inlined, keep_apart, kernel, natural, prefetch
from mst_abm.engine.rng import BLOCK, TWO_M32
from mst_abm.engine.status import DONE, NEED_OUTBOX, OUT_OF_DRAWS
from mst_abm.engine.tables import (
    ATTEMPT,
    BECOME,
    COUNTER,
    DIE,
    DIVIDE,
    EMIT,
    LEAVE,
    MOVE,
    NEAR,
    PAIR,
    VACANT,
)

MASK32 = 0xFFFFFFFF
LANDING_TRIES = 1024
AHEAD = 32  # candidates whose cells are fetched from memory together; divides BLOCK
LARGE = 8192  # sites from which a patch no longer lies in the nearest cache


class Patch(NamedTuple):
    """Views of one patch's arrays."""

    compartment: int
    row: int  # first row of the compartment
    first: int  # first site within the body
    species: np.ndarray
    counters: np.ndarray
    where: np.ndarray
    order: np.ndarray
    bounds: np.ndarray
    counts: np.ndarray
    fields: np.ndarray


@kernel
def view_patch(tab, geo, lat, body, r, k):
    compartment = geo.patches[k].compartment
    lo, hi = geo.patches[k].first, geo.patches[k].last
    counters = lat.counters[r, lo:hi] if tab.has_counters else lat.counters[r, 0:1]
    return Patch(
        compartment,
        compartment * tab.n_species,
        lo,
        lat.species[r, lo:hi],
        counters,
        lat.where[r, lo:hi],
        lat.order[r, lo:hi],
        lat.bounds[r, k],
        body.counts[r, compartment],
        lat.fields[:, r, lo:hi],
    )


@inlined
def set_species(tab, patch, site, new):
    """Put a species (or 0) on a site; keeps list and counts."""
    old = np.int64(patch.species[site])
    if old == new:
        return
    before = tab.rows[patch.row + old].class_of
    after = tab.rows[patch.row + new].class_of
    if before != after:
        if before >= 0:
            delist(patch.order, patch.where, patch.bounds, tab.n_classes, before, site)
        if after >= 0:
            enlist(patch.order, patch.where, patch.bounds, tab.n_classes, after, site)
    patch.species[site] = new
    patch.counts[old] -= 1
    patch.counts[new] += 1


@inlined
def move_cell(tab, patch, lat, r, a, b, place):
    """Carry what is on site a, at ``place`` in the list if listed, to the vacant site b."""
    s = patch.species[a]
    patch.species[b] = s
    patch.species[a] = 0
    if tab.rows[patch.row + np.int64(s)].class_of >= 0:
        patch.where[b] = place
        patch.order[place] = b
    if tab.has_counters:
        patch.counters[b] = patch.counters[a]
    if tab.has_identity:
        copy_identity(lat.identity, patch.first + a, lat.identity, patch.first + b, r)


@kernel
def swap_cells(tab, patch, lat, r, a, b):
    keep_apart()
    s, t = patch.species[a], patch.species[b]
    patch.species[a], patch.species[b] = t, s
    p, q = patch.where[a], patch.where[b]
    if tab.rows[patch.row + np.int64(s)].class_of >= 0:
        patch.where[b] = p
        patch.order[p] = b
    if tab.rows[patch.row + np.int64(t)].class_of >= 0:
        patch.where[a] = q
        patch.order[q] = a
    if tab.has_counters:
        c, d = patch.counters[a], patch.counters[b]
        patch.counters[a], patch.counters[b] = d, c
    if tab.has_identity:
        swap_identity(lat.identity, patch.first + a, patch.first + b, r)


@kernel
def acceptance(tab, geo, grid, patch, first, last, site, counters):
    """Product of local modifiers at a site, each divided by its bound: a probability."""
    keep_apart()
    ball_row = geo.spaces[patch.compartment].ball_row
    p = 1.0
    for m in range(first, last):
        kind, target = tab.modifiers[m].kind, tab.modifiers[m].target
        if kind == NEAR:
            x = count_within(
                grid,
                patch.species,
                tab.pattern_mask[target],
                geo.ball[ball_row],
                geo.ball_count[ball_row, tab.modifiers[m].reach],
                site,
            )
        elif kind == COUNTER:
            x = (np.int64(counters) >> target) & tab.modifiers[m].reach
        else:
            x = np.int64(patch.fields[target, site])
        p *= table_value(tab, m, x)
    return p


@kernel
def vacant_neighbour(geo, grid, patch, site, u):
    """A vacant neighbour drawn uniformly by u in [0, 1), or -1."""
    keep_apart()
    x, y, z = locate(grid, site)
    direction = geo.direction[patch.compartment]
    n = geo.spaces[patch.compartment].neighbours
    free = 0
    for d in range(n):
        other = shifted(
            grid, x, y, z,
            np.int64(direction[d, 0]), np.int64(direction[d, 1]), np.int64(direction[d, 2]),
        )  # fmt: skip
        if other >= 0 and patch.species[other] == 0:
            free += 1
    if free == 0:
        return -1
    wanted = min(int(u * free), free - 1)
    for d in range(n):
        other = shifted(
            grid, x, y, z,
            np.int64(direction[d, 0]), np.int64(direction[d, 1]), np.int64(direction[d, 2]),
        )  # fmt: skip
        if other >= 0 and patch.species[other] == 0:
            if wanted == 0:
                return other
            wanted -= 1
    return -1


@kernel
def chain_to(tab, grid, patch, path, x, y, z, dx, dy, dz, u):
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
        site = shifted(grid, x, y, z, px, py, pz)
        if site < 0 or (
            i < n - 1 and tab.rows[patch.row + np.int64(patch.species[site])].is_static
        ):
            return 0
        path[i] = site
    return n


@kernel
def vacant_in_shell(grid, patch, ball, x, y, z, shell, end, wanted):
    """Number of the ``wanted``-th vacant offset of a shell; without so many, minus their number."""
    found = 0
    for o in range(shell, end):
        dx, dy, dz = np.int64(ball[o, 0]), np.int64(ball[o, 1]), np.int64(ball[o, 2])
        goal = shifted(grid, x, y, z, dx, dy, dz)
        if goal >= 0 and patch.species[goal] == 0:
            if found == wanted:
                return o
            found += 1
    return -found


@kernel
def push_outwards(tab, geo, grid, patch, lat, path, r, site, reach, u, v):
    """Shift the chain of cells towards the nearest vacancy within ``reach`` sites.

    Among vacancies at equal distance one is drawn; when a static cell bars its way, the next is tried. A vacancy met on the way
    ends the chain there. Returns the site next to the mother that fell vacant, or -1.
    """
    keep_apart()
    ball_row = geo.spaces[patch.compartment].ball_row
    ball = geo.ball[ball_row]
    count = geo.ball_count[ball_row, reach]
    x, y, z = locate(grid, site)
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
        vacant = -vacant_in_shell(grid, patch, ball, x, y, z, shell, end, -1)
        start = min(int(u * vacant), vacant - 1)
        for i in range(vacant):
            o = vacant_in_shell(grid, patch, ball, x, y, z, shell, end, (start + i) % vacant)
            dx, dy, dz = np.int64(ball[o, 0]), np.int64(ball[o, 1]), np.int64(ball[o, 2])
            n = chain_to(tab, grid, patch, path, x, y, z, dx, dy, dz, v)
            if n == 0:
                continue
            stop = 0
            while patch.species[path[stop]] != 0:
                stop += 1
            for q in range(stop, 0, -1):
                move_cell(tab, patch, lat, r, path[q - 1], path[q], patch.where[path[q - 1]])
            return path[0]
        shell = end
    return -1


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
def guess_places(draws, weight, classes, bounds, n_classes, total, order):
    """Places in the list of a block's candidates, were nothing to happen meanwhile.

    Cells drawn at random are seldom in a near cache. Asked for ahead of time they are waited for
    together, not one after another; a guess gone wrong changes nothing but the waiting.
    """
    for j in range(BLOCK):
        x = draws.choice[j] * total
        c = 0
        while c < n_classes and x >= weight[c]:
            x -= weight[c]
            c = natural(c + 1)
        place = 0
        if c < n_classes:
            place = bounds[c] + min(int(x * classes[c].inverse), bounds[c + 1] - bounds[c] - 1)
        draws.words[j] = place  # the raw words are no longer needed
        prefetch(order, place)


@kernel
def fetch_sites(draws, first, patch, grid, directions, neighbours):
    """Ask for the sites of the next candidates and for the neighbours they may look at."""
    for j in range(first, first + AHEAD):
        j = natural(j)
        site = np.int64(patch.order[draws.words[j]])
        d = natural((draws.direction[j] * neighbours) >> 32)
        step = np.int64(directions[d, 0]) + grid.nx * (
            np.int64(directions[d, 1]) + grid.ny * np.int64(directions[d, 2])
        )
        prefetch(patch.species, site)
        prefetch(patch.where, site)
        prefetch(patch.species, site + step)


@kernel
def arrive(tab, geo, grid, patch, lat, pool, body, rates, r, k, x, u, address, candidate):
    """One waiting cell tries to land on a vacant, allowed site; returns executed events.

    Random sites are tried first (the try is part of the draw's address, above the window); when all
    fail, the allowed vacant sites are weighed and one is drawn, so the choice is uniform and a
    full patch costs two scans.
    """
    keep_apart()
    waiting = pool.n[r, k]
    top = rates.spaces[patch.compartment].arrive_top
    i = min(int(x / top), waiting - 1)
    s = np.int64(pool.cells[r, k, i].species)
    row = patch.row + s
    if x - i * top >= rates.rows[row].arrive:
        return 0
    first, last = tab.rows[row].arrive_modifier_first, tab.rows[row].arrive_modifier_last
    n = patch.species.shape[0]
    counters = pool.cells[r, k, i].counters
    site = -1
    for trial_number in range(LANDING_TRIES):
        a, b, _ = rng.detail(
            address.seed, address.replicate, address.window + (trial_number << 20), address.space,
            candidate, rng.LANDING,
        )  # fmt: skip
        trial = min(int(a * n), n - 1)
        if patch.species[trial] == 0:
            if first == last or b < acceptance(tab, geo, grid, patch, first, last, trial, counters):
                site = trial
                break
    if site < 0:
        total = 0.0
        for trial in range(n):
            if patch.species[trial] == 0:
                total += acceptance(tab, geo, grid, patch, first, last, trial, counters)
        goal = u * total
        for trial in range(n):
            if patch.species[trial] == 0:
                p = acceptance(tab, geo, grid, patch, first, last, trial, counters)
                if p > 0.0:
                    site = trial
                    if goal < p:
                        break
                    goal -= p
        if site < 0:
            return 0
    set_species(tab, patch, site, s)
    if tab.has_counters:
        patch.counters[site] = counters
    depth = pool.cells.shape[2]
    if tab.has_identity:
        copy_identity(pool.identity, k * depth + i, lat.identity, patch.first + site, r)
    end = waiting - 1
    pool.cells[r, k, i].species = pool.cells[r, k, end].species
    pool.cells[r, k, i].counters = pool.cells[r, k, end].counters
    if tab.has_identity:
        copy_identity(pool.identity, k * depth + end, pool.identity, k * depth + i, r)
    pool.n[r, k] = end
    body.tally[r, tab.rows[row].arrive_tally] += 1
    return 1


@kernel
def post(tab, out, lat, r, k, time, species, counters, destination, copies, origin):
    """Append to the patch's outbox; ``origin`` the site within the body, -1 for emitted product."""
    keep_apart()
    n = out.n[r, k]
    out.cells[r, k, n].time = time
    out.cells[r, k, n].species = species
    out.cells[r, k, n].counters = counters
    out.cells[r, k, n].destination = destination
    out.cells[r, k, n].copies = copies
    if tab.has_identity:
        place = k * out.cells.shape[2] + n
        if origin >= 0:
            copy_identity(lat.identity, origin, out.identity, place, r)
        else:
            out.identity[r, place].id = 0
    out.n[r, k] = n + 1


@kernel
def advance_patch(tab, geo, lat, pool, out, body, rates, draws, seed, r, k, begin, end, window):
    """Run one patch of body r from ``begin`` to ``end``; returns a status.

    When the outbox is full the time and the candidate reached are kept in ``body`` and the
    same call, made again after enlarging it, goes on to the same bits.
    """
    patch = view_patch(tab, geo, lat, body, r, k)
    compartment, base_row = patch.compartment, patch.row
    grid = grid_of(geo, compartment)
    address = Address(seed, body.progress[r].replicate, window, k)
    n_species, n_classes = tab.n_species, tab.n_classes
    species, order, bounds = patch.species, patch.order, patch.bounds
    tally = body.tally[r]
    classes = rates.classes[compartment]
    weight = rates.weight[0]
    arrive_top = rates.spaces[compartment].arrive_top
    neighbours = geo.spaces[compartment].neighbours
    directions = geo.direction[compartment]
    ball_row = geo.spaces[compartment].ball_row
    ball = geo.ball[ball_row]
    waiting, choice, direction = draws.waiting, draws.choice, draws.direction

    t = begin
    drawn = np.int64(0)
    if body.progress[r].candidate > 0:
        t, drawn = body.progress[r].time, body.progress[r].candidate
    total = weigh(bounds, classes, weight, n_classes, pool.n[r, k], arrive_top)
    is_large = species.shape[0] >= LARGE
    drawn -= BLOCK
    j = pause = BLOCK
    attempts = 0
    executed = 0
    status = DONE
    while True:
        if j == pause:
            if j == BLOCK:
                drawn += BLOCK
                rng.fill_block(draws, seed, address.replicate, window, k, drawn)
                j, pause = 0, BLOCK
                if is_large:
                    pause = 0
                    guess_places(draws, weight, classes, bounds, n_classes, total, order)
            if is_large:
                pause += AHEAD
                fetch_sites(draws, j, patch, grid, directions, neighbours)
        now = t + waiting[j] / total
        if not now < end:
            break
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
            if pool.n[r, k] > 0 and arrive_top > 0.0:
                landed = arrive(
                    tab, geo, grid, patch, lat, pool, body, rates, r, k, x, word * TWO_M32,
                    address, candidate,
                )  # fmt: skip
                executed += landed
                if landed:
                    total = weigh(bounds, classes, weight, n_classes, pool.n[r, k], arrive_top)
            continue
        i = int(x * classes[c].inverse)
        i = min(i, bounds[c + 1] - bounds[c] - 1)
        v = max(x - i * classes[c].top, 0.0)
        place = natural(bounds[c] + i)
        site = natural(np.int64(order[place]))
        s = np.int64(species[site])
        row = natural(base_row + s)
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
        own = patch.counters[site] if tab.has_counters else np.uint16(0)

        if verb == MOVE:
            product = word * neighbours
            d = natural(product >> 32)
            gx, gy, gz = locate(grid, site)
            other = shifted(
                grid, gx, gy, gz,
                np.int64(directions[d, 0]), np.int64(directions[d, 1]), np.int64(directions[d, 2]),
            )  # fmt: skip
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
                if u >= acceptance(tab, geo, grid, patch, mod_first, mod_last, site, own):
                    continue
            if occupant == 0:
                move_cell(tab, patch, lat, r, site, natural(other), place)
            else:
                swap_cells(tab, patch, lat, r, site, other)
            tally[tab.channels[ch].tally] += 1
            executed += 1
            continue

        if verb == PAIR:
            reach = tab.channels[ch].reach
            n_offsets = neighbours if reach == 0 else geo.ball_count[ball_row, reach]
            product = word * n_offsets
            d = natural(product >> 32)
            gx, gy, gz = locate(grid, site)
            offset = directions[d] if reach == 0 else ball[d]
            other = shifted(
                grid, gx, gy, gz, np.int64(offset[0]), np.int64(offset[1]), np.int64(offset[2])
            )
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
                _, u, _ = rng.detail(seed, address.replicate, window, k, candidate, rng.DETAIL)
                if u >= acceptance(tab, geo, grid, patch, mod_first, mod_last, site, own):
                    continue
            if tab.has_counters:
                theirs = patch.counters[other]
                patch.counters[site] = updated_counters(
                    tab, tab.entries[e].update_a, own, address, candidate, 0
                )
                patch.counters[other] = updated_counters(
                    tab, tab.entries[e].update_b, theirs, address, candidate, 1
                )
            set_species(tab, patch, site, tab.entries[e].product_a)
            set_species(tab, patch, other, tab.entries[e].product_b)
            tally[tab.entries[e].tally] += 1
            executed += 1
            total = weigh(bounds, classes, weight, n_classes, pool.n[r, k], arrive_top)
            continue

        if verb == DIVIDE:
            product = word * neighbours
            u = (product & MASK32) * TWO_M32
            if mod_first < mod_last:
                p = acceptance(tab, geo, grid, patch, mod_first, mod_last, site, own)
                if u >= p:
                    continue
                u /= p
            placement = tab.channels[ch].placement
            if placement == ATTEMPT:
                d = natural(product >> 32)
                gx, gy, gz = locate(grid, site)
                other = shifted(
                    grid, gx, gy, gz,
                    np.int64(directions[d, 0]), np.int64(directions[d, 1]),
                    np.int64(directions[d, 2]),
                )  # fmt: skip
                if other < 0 or species[other] != 0:
                    continue
            elif placement == VACANT:
                other = vacant_neighbour(geo, grid, patch, site, u)
            else:
                a, b, _ = rng.detail(seed, address.replicate, window, k, candidate, rng.DETAIL)
                other = push_outwards(
                    tab, geo, grid, patch, lat, rates.path, r, site, tab.channels[ch].push, a, b
                )
            if other < 0:
                continue
            set_species(tab, patch, other, tab.channels[ch].product_b)
            set_species(tab, patch, site, tab.channels[ch].product_a)
            if tab.has_counters:
                patch.counters[site] = updated_counters(
                    tab, tab.channels[ch].update_a, own, address, candidate, 0
                )
                patch.counters[other] = updated_counters(
                    tab, tab.channels[ch].update_b, own, address, candidate, 1
                )
            if tab.has_identity:
                born = body.births[r, k]
                body.births[r, k] = born + 2
                a_place, b_place = patch.first + site, patch.first + other
                child_identity(lat.identity, r, a_place, b_place, now, new_id(window, k, born + 1))
                child_identity(lat.identity, r, a_place, a_place, now, new_id(window, k, born))
            tally[tab.channels[ch].tally] += 1
            executed += 1
            total = weigh(bounds, classes, weight, n_classes, pool.n[r, k], arrive_top)
            continue

        if mod_first < mod_last:
            if word * TWO_M32 >= acceptance(tab, geo, grid, patch, mod_first, mod_last, site, own):
                continue
        if verb == DIE or verb == BECOME:
            if tab.has_counters:
                patch.counters[site] = updated_counters(
                    tab, tab.channels[ch].update_a, own, address, candidate, 0
                )
            set_species(tab, patch, site, tab.channels[ch].product_a)
        elif verb == LEAVE or verb == EMIT:
            if out.n[r, k] == out.cells.shape[2]:
                t = before
                status = NEED_OUTBOX
                attempts -= 1
                break
            a, _, _ = rng.detail(seed, address.replicate, window, k, candidate, rng.DETAIL)
            copies = int(tab.channels[ch].copies)
            if a < tab.channels[ch].copies - copies:
                copies += 1
            carried = np.uint16(0)
            if tab.has_counters:
                update = tab.channels[ch].update_a if verb == LEAVE else tab.channels[ch].update_b
                carried = updated_counters(tab, update, own, address, candidate, 0)
            if copies > 0:
                origin = patch.first + site if verb == LEAVE else -1
                sent = tab.channels[ch].product_a if verb == LEAVE else tab.channels[ch].product_b
                post(
                    tab,
                    out,
                    lat,
                    r,
                    k,
                    now,
                    sent,
                    carried,
                    tab.channels[ch].destination,
                    copies,
                    origin,
                )
            if verb == LEAVE:
                set_species(tab, patch, site, 0)
        tally[tab.channels[ch].tally] += 1
        executed += 1
        total = weigh(bounds, classes, weight, n_classes, pool.n[r, k], arrive_top)
    body.progress[r].attempts += attempts
    body.progress[r].executed += executed
    body.progress[r].time = t
    body.progress[r].candidate = 0
    if status != DONE:
        body.progress[r].candidate = candidate
        return status
    return DONE if drawn < MASK32 - BLOCK else OUT_OF_DRAWS
