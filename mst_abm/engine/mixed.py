"""Exact events in the mixed compartments of one body, all of them in one clock.

The rules are those of the lattice. A compartment with a capacity has sites: a cell's neighbours are
drawn from the other sites. One without has a room (sites its volume would hold): contacts follow
mass action, births always succeed. Cells pass between mixed compartments at the instant they leave;
what patches sent during the interval comes in at its own time; what goes to a lattice waits in the
pool of one of its patches.
"""

from __future__ import annotations

import numpy as np

from mst_abm.engine import rng
from mst_abm.engine.cells import (
    Address,
    child_identity,
    copy_identity,
    new_id,
    table_value,
    table_value_between,
    updated_counters,
    write_identity,
)
from mst_abm.engine.kernel import inlined, keep_apart, kernel, merged
from mst_abm.engine.rng import BLOCK, TWO_M32
from mst_abm.engine.signals import heed_appeared
from mst_abm.engine.status import DONE, NEED_POOL, NEED_SLOTS, OUT_OF_DRAWS
from mst_abm.engine.tables import ATTEMPT, COUNTER, DIVIDE, EMIT, LEAVE, MOVE, NEAR, PAIR, VACANT

MASK32 = 0xFFFFFFFF


@inlined
def move_record(tab, mix, r, source, target):
    mix.species[r, target] = mix.species[r, source]
    if tab.has_counters:
        mix.counters[r, target] = mix.counters[r, source]
    if tab.has_identity:
        copy_identity(mix.identity[r], source, mix.identity[r], target)


@inlined
def fill_slot(tab, mix, r, first, hole, place):
    """Move the record at a place into the hole; returns where the hole is then. Relative to ``first``."""
    if hole != place:
        move_record(tab, mix, r, first + place, first + hole)
    return place


@inlined
def open_slot(tab, mix, r, q, c):
    """Make room for a cell of class c (the idle class is n_classes); returns its slot."""
    first, bounds = mix.first[q], mix.bounds[r, q]
    hole = bounds[tab.n_classes + 1]
    for p in range(tab.n_classes, c, -1):
        hole = fill_slot(tab, mix, r, first, hole, bounds[p])
        bounds[p + 1] += 1
    bounds[c + 1] += 1
    return first + hole


@inlined
def close_slot(tab, mix, r, q, c, slot):
    """Remove the cell in ``slot`` of class c."""
    first, bounds = mix.first[q], mix.bounds[r, q]
    hole = slot - first
    for p in range(c, tab.n_classes + 1):
        hole = fill_slot(tab, mix, r, first, hole, bounds[p + 1] - 1)
        bounds[p + 1] = hole


@inlined
def pass_slot(tab, mix, r, q, before, after, slot):
    """Make room in class ``after`` by closing ``slot`` of class ``before``; returns the free slot.

    `mst_abm.engine.lists.reclass` for records: the classes beyond both stay as they are.
    """
    first, bounds = mix.first[q], mix.bounds[r, q]
    hole = slot - first
    for p in range(before, after):
        hole = fill_slot(tab, mix, r, first, hole, bounds[p + 1] - 1)
        bounds[p + 1] = hole
    hole = fill_slot(tab, mix, r, first, hole, bounds[max(before, after) + 1] - 1)
    for p in range(before, after, -1):
        hole = fill_slot(tab, mix, r, first, hole, bounds[p])
        bounds[p] = hole + 1
    return first + hole


@kernel
def listed_class(tab, compartment, species):
    c = tab.rows[compartment * tab.n_species + species].class_of
    return c if c >= 0 else tab.n_classes


@kernel
def count_in(body, r, compartment, species):
    body.counts[r, compartment, species] += 1
    if not body.present[r, compartment, species]:
        body.progress[r].has_appeared = True


@inlined
def add_cell(tab, geo, mix, body, r, q, species, counters):
    """Put a cell into a mixed compartment; returns its slot (identity still to be written)."""
    compartment = geo.mixed_compartment[q]
    slot = open_slot(tab, mix, r, q, listed_class(tab, compartment, species))
    mix.species[r, slot] = species
    if tab.has_counters:
        mix.counters[r, slot] = counters
    count_in(body, r, compartment, species)
    return slot


@inlined
def drop_cell(tab, geo, mix, body, r, q, slot):
    compartment = geo.mixed_compartment[q]
    species = np.int64(mix.species[r, slot])
    close_slot(tab, mix, r, q, listed_class(tab, compartment, species), slot)
    body.counts[r, compartment, species] -= 1


@kernel
def turn_cell(tab, geo, mix, body, r, q, slot, new):
    """`turn_here` for callers to whom a call is cheaper than a copy."""
    keep_apart()
    return turn_here(tab, geo, mix, body, r, q, slot, new)


@inlined
def turn_here(tab, geo, mix, body, r, q, slot, new):
    """Change a cell's species; 0 removes it. Returns the slot it now has, -1 if gone."""
    compartment = geo.mixed_compartment[q]
    old = np.int64(mix.species[r, slot])
    if new == 0:
        drop_cell(tab, geo, mix, body, r, q, slot)
        return -1
    before, after = listed_class(tab, compartment, old), listed_class(tab, compartment, new)
    body.counts[r, compartment, old] -= 1
    count_in(body, r, compartment, new)
    if before == after:
        mix.species[r, slot] = new
        return slot
    counters = mix.counters[r, slot] if tab.has_counters else np.uint16(0)
    record = slot if tab.has_identity else 0
    id_, parent = mix.identity[r, record].id, mix.identity[r, record].parent
    birth, clone = mix.identity[r, record].birth, mix.identity[r, record].clone
    generation = mix.identity[r, record].generation
    slot = pass_slot(tab, mix, r, q, before, after, slot)
    mix.species[r, slot] = new
    if tab.has_counters:
        mix.counters[r, slot] = counters
    if tab.has_identity:
        write_identity(mix.identity[r], slot, id_, parent, birth, clone, generation)
    return slot


@kernel
def cells_in(tab, mix, r, q):
    return mix.bounds[r, q, tab.n_classes + 1]


@kernel
def has_room(tab, mix, r, q, copies):
    return cells_in(tab, mix, r, q) + copies <= mix.first[q + 1] - mix.first[q]


@kernel
def mean_acceptance(tab, geo, body, r, compartment, first, last, species, counters):
    """Local modifiers in a mixed compartment: counts around a cell take their expected value.

    A site of the ball is one of the other sites: the cell itself is not among them.
    """
    keep_apart()
    p = 1.0
    for m in range(first, last):
        kind, target = tab.modifiers[m].kind, tab.modifiers[m].target
        if kind == COUNTER:
            p *= table_value(tab, m, (np.int64(counters) >> target) & tab.modifiers[m].reach)
        elif kind == NEAR:
            capacity = geo.spaces[compartment].capacity
            sites = np.float64(capacity - 1) if capacity > 0 else geo.spaces[compartment].room
            others, matching = np.int64(-1), np.int64(0)
            for s in range(1, tab.n_species):
                others += body.counts[r, compartment, s]
                if tab.pattern_mask[target, s]:
                    matching += body.counts[r, compartment, s]
            x = np.float64(matching - tab.pattern_mask[target, species])
            if tab.pattern_mask[target, 0]:
                x += max(sites - others, 0.0)
            ball = geo.ball_count[0, tab.modifiers[m].reach]
            p *= table_value_between(tab, m, ball * x / sites if sites > 0.0 else 0.0)
    return p


@kernel
def is_vacancy_found(tab, geo, mix, r, q, offsets, u):
    """Whether one of ``offsets`` sites drawn from the other sites is vacant."""
    keep_apart()
    sites = geo.spaces[geo.mixed_compartment[q]].capacity - 1
    others = cells_in(tab, mix, r, q) - 1
    occupied = 1.0
    for i in range(min(offsets, sites)):
        if others - i <= 0:
            return True
        occupied *= (others - i) / (sites - i)
    return u >= occupied


@kernel
def deliver(
    tab, geo, mix, pool, body, r, to, species, counters, copies, u, source, place, window, now
):
    """`hand` for callers to whom a call is cheaper than a copy."""
    keep_apart()
    return hand(
        tab, geo, mix, pool, body, r, to, species, counters, copies, u, source, place, window, now
    )


@inlined
def hand(
    tab, geo, mix, pool, body, r, to, species, counters, copies, u, source, place, window, now
):
    """Hand ``copies`` of a cell to a compartment; identity from ``source`` at ``place``.

    Status: NEED_SLOTS, NEED_POOL before anything has changed.
    """
    q = geo.spaces[to].mixed_index
    space = geo.n_units
    if q >= 0:
        if not has_room(tab, mix, r, q, copies):
            return NEED_SLOTS
        for i in range(copies):
            slot = add_cell(tab, geo, mix, body, r, q, species, counters)
            if tab.has_identity:
                inherit(tab, body, r, source, place, mix.identity[r], slot, i, window, space, now)
        body.received[r, to, species] += copies
        return DONE
    n = geo.spaces[to].patches
    k = geo.spaces[to].first_patch + min(int(u * n), n - 1)
    waiting = pool.n[r, k]
    depth = pool.cells.shape[2]
    if waiting + copies > depth:
        return NEED_POOL
    for i in range(copies):
        pool.cells[r, k, waiting + i].species = species
        pool.cells[r, k, waiting + i].counters = counters
        if tab.has_identity:
            inherit(
                tab, body, r, source, place, pool.identity[r], k * depth + waiting + i, i,
                window, space, now,
            )  # fmt: skip
    pool.n[r, k] = waiting + copies
    body.received[r, to, species] += copies
    return DONE


@kernel
def inherit(tab, body, r, source, place, target, slot, i, window, space, now):
    """Identity at a hand-over: the first copy is the same cell, further ones are new.

    ``place`` -1, or a record without an id: a cell that begins here.
    """
    keep_apart()
    if place >= 0 and source[place].id != 0:
        copy_identity(source, place, target, slot)
        if i == 0:
            return
    else:
        write_identity(target, slot, np.uint64(0), np.uint64(0), now, 0, 0)
    target[slot].id = new_id(window, space, body.births[r, space])
    body.births[r, space] += 1


@inlined
def weigh_again(tab, geo, mix, rates, r, q, other):
    """Weights of compartments q and ``other``, whose cells have changed; returns the sum of all.

    q = number of mixed compartments: all are weighed. Each has a weight for every class, one for
    arrivals from outside, and their sum; no number is accumulated from event to event.
    """
    n_classes, n_mixed = tab.n_classes, geo.mixed_compartment.shape[0]
    total = 0.0
    for p in range(n_mixed):
        if q == n_mixed or p == q or p == other:
            m = geo.mixed_compartment[p]
            density = pair_density(tab, geo, mix, r, p)
            mine = 0.0
            for c in range(n_classes):
                w = (mix.bounds[r, p, c + 1] - mix.bounds[r, p, c]) * (
                    rates.classes[m, c].single + density * rates.classes[m, c].paired
                )
                rates.weight[p, c] = w
                mine += w
            rates.weight[p, n_classes] = rates.spaces[m].source_sum
            rates.weight[p, n_classes + 1] = mine + rates.spaces[m].source_sum
            rates.spaces[m].density = density
        total += rates.weight[p, n_classes + 1]
    return total


@kernel
def pair_density(tab, geo, mix, r, q):
    """Tries to meet per virtual neighbour: 1 with sites, (cells - 1) / room with mass action."""
    m = geo.mixed_compartment[q]
    if geo.spaces[m].capacity > 0:
        return 1.0
    return max(cells_in(tab, mix, r, q) - 1, 0) / geo.spaces[m].room


@kernel
def earliest(geo, out, r):
    """Patch whose outbox holds the earliest cell not yet handed over, and that time."""
    best, time = -1, np.inf
    for k in range(geo.patches.shape[0]):
        i = out.done[r, k]
        if i < out.n[r, k] and out.cells[r, k, i].time < time:
            best, time = k, out.cells[r, k, i].time
    return best, time


@merged
def act(tab, geo, mix, pool, body, rates, r, q, slot, ch, word, now, address, candidate):
    """Carry out a channel of the cell in ``slot``; returns (status, executed)."""
    m = geo.mixed_compartment[q]
    first = mix.first[q]
    verb = tab.channels[ch].verb
    kind = np.int64(mix.species[r, slot])
    own = mix.counters[r, slot] if tab.has_counters else np.uint16(0)
    seed, replicate, window, space = address.seed, address.replicate, address.window, address.space
    mod_first, mod_last = tab.channels[ch].modifier_first, tab.channels[ch].modifier_last
    if verb == MOVE:
        return DONE, 0
    if verb == PAIR:
        a, u, v = rng.detail(seed, replicate, window, space, candidate, rng.DETAIL)
        cells = cells_in(tab, mix, r, q)
        others = geo.spaces[m].capacity - 1 if geo.spaces[m].capacity > 0 else cells - 1
        i = min(int(a * others), others - 1)
        if i < 0 or i >= cells - 1:
            return DONE, 0
        partner = first + i
        if partner >= slot:
            partner += 1
        t = np.int64(mix.species[r, partner])
        place = tab.channels[ch].pair_table * tab.n_species + t
        e, e_last = tab.entry_range[place, 0], tab.entry_range[place, 1]
        w = u * rates.pair_top[tab.channels[ch].pair_table]
        while e < e_last and w >= rates.entry[e]:
            e += 1
        if e == e_last:
            return DONE, 0
        mod_first, mod_last = tab.entries[e].modifier_first, tab.entries[e].modifier_last
        if mod_first < mod_last:
            if v >= mean_acceptance(tab, geo, body, r, m, mod_first, mod_last, kind, own):
                return DONE, 0
        if tab.has_counters:
            theirs = mix.counters[r, partner]
            mix.counters[r, slot] = updated_counters(
                tab, tab.entries[e].update_a, own, address, candidate, 0
            )
            mix.counters[r, partner] = updated_counters(
                tab, tab.entries[e].update_b, theirs, address, candidate, 1
            )
        transform_pair(
            tab, geo, mix, body, r, q, slot, partner,
            tab.entries[e].product_a, tab.entries[e].product_b,
        )  # fmt: skip
        body.tally[r, tab.entries[e].tally] += 1
        return DONE, 1
    if mod_first < mod_last:
        if word * TWO_M32 >= mean_acceptance(tab, geo, body, r, m, mod_first, mod_last, kind, own):
            return DONE, 0
    if verb == DIVIDE:
        if geo.spaces[m].capacity > 0:
            a, _, _ = rng.detail(seed, replicate, window, space, candidate, rng.DETAIL)
            offsets = 1
            if tab.channels[ch].placement == VACANT:
                offsets = geo.spaces[m].neighbours
            elif tab.channels[ch].placement != ATTEMPT:
                offsets = geo.ball_count[0, tab.channels[ch].push]
            if not is_vacancy_found(tab, geo, mix, r, q, offsets, a):
                return DONE, 0
        if not has_room(tab, mix, r, q, 1):
            return NEED_SLOTS, 0
        divide(tab, geo, mix, body, r, q, slot, ch, own, now, address, candidate)
    elif verb == LEAVE or verb == EMIT:
        a, u, _ = rng.detail(seed, replicate, window, space, candidate, rng.DETAIL)
        copies = int(tab.channels[ch].copies)
        if a < tab.channels[ch].copies - copies:
            copies += 1
        product = tab.channels[ch].product_a if verb == LEAVE else tab.channels[ch].product_b
        update = tab.channels[ch].update_a if verb == LEAVE else tab.channels[ch].update_b
        carried = np.uint16(0)
        if tab.has_counters:
            carried = updated_counters(tab, update, own, address, candidate, 0)
        place = -1
        if verb == LEAVE:
            place = slot if tab.has_identity else 0
        # the receiver is served first: it may have no room, and then nothing must have changed
        status = hand(
            tab, geo, mix, pool, body, r, tab.channels[ch].destination, product, carried, copies, u,
            mix.identity[r], place, window, now,
        )  # fmt: skip
        if status != DONE:
            return status, 0
        if verb == LEAVE:
            drop_cell(tab, geo, mix, body, r, q, slot)
    else:
        if tab.has_counters:
            mix.counters[r, slot] = updated_counters(
                tab, tab.channels[ch].update_a, own, address, candidate, 0
            )
        turn_here(tab, geo, mix, body, r, q, slot, tab.channels[ch].product_a)
    body.tally[r, tab.channels[ch].tally] += 1
    return DONE, 1


@kernel
def transform_pair(tab, geo, mix, body, r, q, slot, partner, product_a, product_b):
    """Turn two cells at once.

    Changing a cell's class moves records between segment ends, possibly the other cell's. So a cell
    whose class stays is turned first, in place; when both classes change, the actor is marked
    with species 0 while the partner is turned, and looked for when it has moved.
    """
    keep_apart()
    m = geo.mixed_compartment[q]
    s, t = np.int64(mix.species[r, slot]), np.int64(mix.species[r, partner])
    a_moves = product_a == 0 or listed_class(tab, m, s) != listed_class(tab, m, product_a)
    b_moves = product_b == 0 or listed_class(tab, m, t) != listed_class(tab, m, product_b)
    if not b_moves:
        turn_cell(tab, geo, mix, body, r, q, partner, product_b)
        turn_cell(tab, geo, mix, body, r, q, slot, product_a)
        return
    if not a_moves:
        turn_cell(tab, geo, mix, body, r, q, slot, product_a)
        turn_cell(tab, geo, mix, body, r, q, partner, product_b)
        return
    mix.species[r, slot] = 0
    turn_cell(tab, geo, mix, body, r, q, partner, product_b)
    first, bounds = mix.first[q], mix.bounds[r, q]
    c = listed_class(tab, m, s)
    place = slot
    if mix.species[r, place] != 0 or place >= first + bounds[c + 1] or place < first + bounds[c]:
        for i in range(bounds[c], bounds[c + 1]):
            if mix.species[r, first + i] == 0:
                place = first + i
                break
    mix.species[r, place] = s
    turn_cell(tab, geo, mix, body, r, q, place, product_a)


@kernel
def divide(tab, geo, mix, body, r, q, slot, ch, own, now, address, candidate):
    """Daughter B keeps the mother's record, C gets a new one; both are new cells by identity."""
    keep_apart()
    a_counters = b_counters = np.uint16(0)
    if tab.has_counters:
        a_counters = updated_counters(tab, tab.channels[ch].update_a, own, address, candidate, 0)
        b_counters = updated_counters(tab, tab.channels[ch].update_b, own, address, candidate, 1)
        mix.counters[r, slot] = a_counters
    record = slot if tab.has_identity else 0
    mother, clone = mix.identity[r, record].id, mix.identity[r, record].clone
    generation = mix.identity[r, record].generation + 1
    born = body.births[r, address.space]
    if tab.has_identity:
        body.births[r, address.space] = born + 2
        child_identity(
            mix.identity[r], slot, slot, now, new_id(address.window, address.space, born)
        )
    turn_cell(tab, geo, mix, body, r, q, slot, tab.channels[ch].product_a)
    new = add_cell(tab, geo, mix, body, r, q, tab.channels[ch].product_b, b_counters)
    if tab.has_identity:
        id_ = new_id(address.window, address.space, born + 1)
        write_identity(mix.identity[r], new, id_, mother, now, clone, generation)


@kernel
def from_outside(tab, geo, mix, body, rates, r, q, x, now, address, candidate):
    """A batch of cells enters from outside the body; returns (status, executed)."""
    keep_apart()
    m = geo.mixed_compartment[q]
    i, last = geo.spaces[m].source_first, geo.spaces[m].source_last
    while i < last and x >= rates.source[i]:
        i += 1
    if i == last:
        return DONE, 0
    batch = tab.sources[i].batch
    if geo.spaces[m].capacity > 0 and cells_in(tab, mix, r, q) + batch > geo.spaces[m].capacity:
        return DONE, 0
    if not has_room(tab, mix, r, q, batch):
        return NEED_SLOTS, 0
    for copy in range(batch):
        # every cell of a batch draws its counters from a space of its own, beside those of events
        beside = Address(address.seed, address.replicate, address.window, address.space + 2 + copy)
        counters = updated_counters(tab, tab.sources[i].update, np.uint16(0), beside, candidate, 0)
        slot = add_cell(tab, geo, mix, body, r, q, tab.sources[i].species, counters)
        if tab.has_identity:
            inherit(
                tab, body, r, mix.identity[r], -1, mix.identity[r], slot, 0, address.window,
                address.space, now,
            )  # fmt: skip
    body.tally[r, tab.sources[i].tally] += 1
    return DONE, 1


@kernel
def heed_all_appeared(tab, geo, body, rates, r):
    """Raise tops by species that have come into a mixed compartment."""
    keep_apart()
    body.progress[r].has_appeared = False
    for q in range(geo.mixed_compartment.shape[0]):
        heed_appeared(tab, body, rates, r, geo.mixed_compartment[q])


@kernel
def advance_mixed(tab, geo, mix, pool, out, body, rates, draws, seed, r, begin, end, window):
    """Run the mixed compartments of body r from ``begin`` to ``end``; returns a status.

    When a compartment or pool is full, time and candidate are kept in ``body`` and the same call,
    made again after enlarging it, goes on to the same bits.
    """
    space = geo.n_units
    address = Address(seed, body.progress[r].replicate, window, space)
    n_classes = tab.n_classes
    n_mixed = geo.mixed_compartment.shape[0]
    t = begin
    drawn = np.int64(0)
    if body.progress[r].candidate > 0:
        t, drawn = body.progress[r].time, body.progress[r].candidate
    total = 0.0
    # compartments to be weighed again: all to begin with, -1 = none
    stale, receiver = n_mixed, -1
    sender, due = earliest(geo, out, r)
    rng.fill_block(draws, seed, address.replicate, window, space, drawn)
    j = 0
    status = DONE
    candidate = drawn
    while True:
        if j == BLOCK:
            drawn += BLOCK
            rng.fill_block(draws, seed, address.replicate, window, space, drawn)
            j = 0
        if stale >= 0:
            if body.progress[r].has_appeared:
                heed_all_appeared(tab, geo, body, rates, r)
                stale = n_mixed
            total = weigh_again(tab, geo, mix, rates, r, stale, receiver)
            stale = receiver = -1
        candidate = drawn + j
        now = t + draws.waiting[j] / total
        if not now < min(end, due):
            if not due < end:
                break
            # a cell from a patch comes in; the rest of this waiting time is forgotten, which an
            # exponential allows
            i = out.done[r, sender]
            depth = out.cells.shape[2]
            _, u, _ = rng.detail(seed, address.replicate, window, space, candidate, rng.ROUTING)
            status = deliver(
                tab, geo, mix, pool, body, r, np.int64(out.cells[r, sender, i].destination),
                np.int64(out.cells[r, sender, i].species), out.cells[r, sender, i].counters,
                np.int64(out.cells[r, sender, i].copies), u, out.identity[r],
                sender * depth + i if tab.has_identity else 0, window, due,
            )  # fmt: skip
            if status != DONE:
                break
            t = due
            out.done[r, sender] = i + 1
            j += 1
            stale = max(geo.spaces[np.int64(out.cells[r, sender, i].destination)].mixed_index, 0)
            sender, due = earliest(geo, out, r)
            continue
        before = t
        t = now
        x = draws.choice[j] * total
        word = draws.direction[j]
        j += 1
        body.progress[r].attempts += 1
        q, c = 0, 0
        while q < n_mixed and x >= rates.weight[q, n_classes + 1]:
            x -= rates.weight[q, n_classes + 1]
            q += 1
        if q == n_mixed:
            continue
        while c <= n_classes and x >= rates.weight[q, c]:
            x -= rates.weight[q, c]
            c += 1
        # sums and differences may differ in their last bit
        if c > n_classes:
            continue
        m = geo.mixed_compartment[q]
        executed = 0
        if c == n_classes:
            status, executed = from_outside(
                tab, geo, mix, body, rates, r, q, x, now, address, candidate
            )
        else:
            density = rates.spaces[m].density
            top = rates.classes[m, c].single + density * rates.classes[m, c].paired
            members = mix.bounds[r, q, c + 1] - mix.bounds[r, q, c]
            i = min(int(x / top), members - 1)
            v = max(x - i * top, 0.0)
            slot = mix.first[q] + mix.bounds[r, q, c] + i
            row = m * tab.n_species + np.int64(mix.species[r, slot])
            ch = -1
            if v < rates.rows[row].single:
                ch = tab.rows[row].channel_first
            elif v < rates.rows[row].single + density * rates.rows[row].paired:
                v = (v - rates.rows[row].single) / density
                ch = tab.rows[row].pair_start
            if ch < 0:
                continue
            last = tab.rows[row].channel_last - 1
            while v >= rates.cumulative[ch] and ch < last:
                ch += 1
            status, executed = act(
                tab, geo, mix, pool, body, rates, r, q, slot, ch, word, now, address, candidate
            )
            if tab.channels[ch].verb == LEAVE or tab.channels[ch].verb == EMIT:
                receiver = geo.spaces[tab.channels[ch].destination].mixed_index
        if status != DONE:
            body.progress[r].attempts -= 1
            t = before
            break
        if executed:
            body.progress[r].executed += 1
            stale = q
    body.progress[r].time = t
    body.progress[r].candidate = 0
    if status != DONE:
        body.progress[r].candidate = candidate
        return status
    return DONE if drawn < MASK32 - BLOCK else OUT_OF_DRAWS
