"""Initial cells, cells that a protocol brings in, and what is derived from where cells stand."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mst_abm.engine import rng
from mst_abm.engine.cells import Address, updated_counters, write_identity
from mst_abm.engine.grid import grid_of, locate, shifted
from mst_abm.engine.kernel import driver, keep_apart, kernel
from mst_abm.engine.lattice import view_patch
from mst_abm.engine.mixed import add_cell, deliver, drop_cell, inherit

FAR = 255  # beyond every distance a field tells apart


class Items(NamedTuple):
    """Initial cells, one row per species and place; the random ones come last."""

    compartment: np.ndarray  # i8
    species: np.ndarray  # i8
    update: np.ndarray  # program that draws the counters
    amount: np.ndarray  # f8 expected number in one patch, or in the mixed compartment
    total: np.ndarray  # i8 exact number over all patches, -1: draw around amount
    site_first: np.ndarray  # given sites: [first, last) of ``sites``
    site_last: np.ndarray
    sites: np.ndarray  # i4
    radius: np.ndarray  # f8 clusters: radius in sites, 0 = none


@kernel
def amount_of(items, i, k, patches, u):
    """How many cells of an item a patch gets: its part of an exact total, or a rounded draw."""
    if items.total[i] >= 0:
        return (k + 1) * items.total[i] // patches - k * items.total[i] // patches
    return np.int64(np.floor(items.amount[i] + u))


@kernel
def settle(tab, patch, lat, r, site, species, counters, clone):
    keep_apart()
    patch.counts[np.int64(patch.species[site])] -= 1
    patch.counts[species] += 1
    patch.species[site] = species
    if tab.has_counters:
        patch.counters[site] = counters
    if tab.has_identity:
        write_identity(
            lat.identity, r, patch.first + site, np.uint64(clone + 1), np.uint64(0), 0.0, clone, 0
        )


@kernel
def populate_patch(tab, geo, lat, body, items, vacant, seed, r, k, clone):
    """Cells of one patch at time zero; returns (cells that found no room, next clone number).

    ``vacant``: scratch, int32, one entry per site.
    """
    keep_apart()
    patch = view_patch(tab, geo, lat, body, r, k)
    grid = grid_of(geo, patch.compartment)
    n_sites = patch.species.shape[0]
    patch.species[:] = 0
    patch.counts[0] += n_sites
    local = k - geo.spaces[patch.compartment].first_patch
    patches = geo.spaces[patch.compartment].patches
    address = Address(seed, body.progress[r].replicate, 0, k)
    draw = np.int64(0)
    missing = np.int64(0)
    n_vacant = np.int64(-1)
    for i in range(items.species.shape[0]):
        if items.compartment[i] != patch.compartment:
            continue
        u, _, _ = rng.detail(seed, address.replicate, 0, k, draw, rng.PLACING)
        draw += 1
        wanted = amount_of(items, i, local, patches, u)
        if items.site_last[i] > items.site_first[i]:
            for p in range(items.site_first[i], items.site_last[i]):
                site = np.int64(items.sites[p])
                if wanted > 0 and patch.species[site] == 0:
                    packed = updated_counters(tab, items.update[i], np.uint16(0), address, draw, 0)
                    settle(tab, patch, lat, r, site, items.species[i], packed, clone)
                    clone += 1
                    draw += 1
                    wanted -= 1
            missing += wanted
            continue
        if items.radius[i] > 0.0:
            reach = int(items.radius[i])
            tries = 0
            while wanted > 0 and tries < 100000:
                tries += 1
                u, _, _ = rng.detail(seed, address.replicate, 0, k, draw, rng.PLACING)
                draw += 1
                x, y, z = locate(grid, min(int(u * n_sites), n_sites - 1))
                span_y = reach if grid.ny > 1 else 0
                span_z = reach if grid.nz > 1 else 0
                for dz in range(-span_z, span_z + 1):
                    for dy in range(-span_y, span_y + 1):
                        for dx in range(-reach, reach + 1):
                            if dx * dx + dy * dy + dz * dz > items.radius[i] ** 2 or wanted == 0:
                                continue
                            site = shifted(grid, x, y, z, dx, dy, dz)
                            if site >= 0 and patch.species[site] == 0:
                                packed = updated_counters(
                                    tab, items.update[i], np.uint16(0), address, draw, 0
                                )
                                settle(tab, patch, lat, r, site, items.species[i], packed, clone)
                                clone += 1
                                draw += 1
                                wanted -= 1
            missing += wanted
            continue
        if n_vacant < 0:
            n_vacant = 0
            for site in range(n_sites):
                if patch.species[site] == 0:
                    vacant[n_vacant] = site
                    n_vacant += 1
        for _ in range(wanted):
            if n_vacant == 0:
                missing += 1
                continue
            u, _, _ = rng.detail(seed, address.replicate, 0, k, draw, rng.PLACING)
            draw += 1
            pick = min(int(u * n_vacant), n_vacant - 1)
            site = np.int64(vacant[pick])
            n_vacant -= 1
            vacant[pick] = vacant[n_vacant]
            packed = updated_counters(tab, items.update[i], np.uint16(0), address, draw, 0)
            settle(tab, patch, lat, r, site, items.species[i], packed, clone)
            clone += 1
    return missing, clone


@kernel
def measure_fields(tab, geo, lat, body, field_is_distance, field_mask, r, k):
    """Distance to, or number of neighbours of, a static type at every site of a patch.

    Breadth first over neighbours; the list of acting cells, not yet made, serves as the queue.
    """
    keep_apart()
    patch = view_patch(tab, geo, lat, body, r, k)
    grid = grid_of(geo, patch.compartment)
    direction = geo.direction[patch.compartment]
    n_neighbours = geo.spaces[patch.compartment].neighbours
    n_sites = patch.species.shape[0]
    queue = patch.order
    for f in range(field_mask.shape[0]):
        values = patch.fields[f]
        values[:] = FAR if field_is_distance[f] else 0
        head = tail = 0
        for site in range(n_sites):
            if field_mask[f, patch.species[site]]:
                if field_is_distance[f]:
                    values[site] = 0
                queue[tail] = site
                tail += 1
        while head < tail:
            site = np.int64(queue[head])
            head += 1
            x, y, z = locate(grid, site)
            for d in range(n_neighbours):
                other = shifted(
                    grid, x, y, z,
                    np.int64(direction[d, 0]), np.int64(direction[d, 1]),
                    np.int64(direction[d, 2]),
                )  # fmt: skip
                if other < 0:
                    continue
                if not field_is_distance[f]:
                    values[other] += 1
                elif values[other] == FAR and values[site] < FAR - 1:
                    values[other] = values[site] + 1
                    queue[tail] = other
                    tail += 1


@kernel
def list_cells(tab, geo, lat, body, r, k):
    """Make the list of acting cells of a patch: by class, then by site."""
    keep_apart()
    patch = view_patch(tab, geo, lat, body, r, k)
    patch.bounds[:] = 0
    for site in range(patch.species.shape[0]):
        c = tab.rows[patch.row + np.int64(patch.species[site])].class_of
        if c >= 0:
            patch.bounds[c + 1] += 1
    for c in range(tab.n_classes):
        patch.bounds[c + 1] += patch.bounds[c]
    for c in range(tab.n_classes):
        place = patch.bounds[c]
        for site in range(patch.species.shape[0]):
            if tab.rows[patch.row + np.int64(patch.species[site])].class_of == c:
                patch.order[place] = site
                patch.where[site] = place
                place += 1


@kernel
def populate_mixed(tab, geo, mix, body, items, seed, r, clone):
    """Cells of the mixed compartments at time zero; slots must suffice."""
    keep_apart()
    space = geo.patches.shape[0]
    address = Address(seed, body.progress[r].replicate, 0, space)
    draw = np.int64(0)
    for i in range(items.species.shape[0]):
        q = geo.spaces[items.compartment[i]].mixed_index
        if q < 0:
            continue
        u, _, _ = rng.detail(seed, address.replicate, 0, space, draw, rng.PLACING)
        draw += 1
        for _ in range(amount_of(items, i, 0, 1, u)):
            packed = updated_counters(tab, items.update[i], np.uint16(0), address, draw, 0)
            slot = add_cell(tab, geo, mix, body, r, q, items.species[i], packed)
            draw += 1
            if tab.has_identity:
                id_ = np.uint64((space << 28) + clone + 1)
                write_identity(mix.identity, r, slot, id_, np.uint64(0), 0.0, clone, 0)
            clone += 1
    return clone


@driver
def populate(
    tab, geo, lat, mix, body, items, field_is_distance, field_mask, vacant, seed, first, last
):
    """Bodies [first, last) at time zero; returns cells that found no vacant site."""
    missing = np.int64(0)
    for r in range(first, last):
        clone = np.int64(0)
        for k in range(geo.patches.shape[0]):
            lost, clone = populate_patch(tab, geo, lat, body, items, vacant, seed, r, k, clone)
            missing += lost
            if field_mask.shape[0] > 0:
                measure_fields(tab, geo, lat, body, field_is_distance, field_mask, r, k)
            list_cells(tab, geo, lat, body, r, k)
        populate_mixed(tab, geo, mix, body, items, seed, r, clone)
    return missing


@driver
def infuse(
    tab, geo, mix, pool, body, seed, r, window, now, first_draw, compartment, species, update,
    expected,
):  # fmt: skip
    """Bring ``expected`` cells (rounded at random) into a compartment; returns (status, cells).

    Slots of a mixed compartment and pools must suffice. Cells for a lattice wait in its pools.
    """
    space = geo.patches.shape[0]
    # counters are drawn beside the spaces of events: no candidate has this address
    address = Address(seed, body.progress[r].replicate, window, space + 1)
    u, _, _ = rng.detail(seed, address.replicate, window, space, first_draw, rng.INFUSING)
    copies = np.int64(np.floor(expected + u))
    status = np.int64(0)
    for i in range(copies):
        draw = first_draw + 1 + i
        _, v, _ = rng.detail(seed, address.replicate, window, space, draw, rng.INFUSING)
        packed = updated_counters(tab, update, np.uint16(0), address, draw, 1)
        status = deliver(
            tab, geo, mix, pool, body, r, compartment, species, packed, 1, v,
            mix.identity, -1, window, now,
        )  # fmt: skip
        if status != 0:
            return status, copies
    return status, copies


@driver
def reset_number(
    tab, geo, mix, body, r, compartment, species, update, number, seed, window, now, first_draw
):
    """Bring a species of a mixed compartment to a number; slots must suffice."""
    space = geo.patches.shape[0]
    q = geo.spaces[compartment].mixed_index
    address = Address(seed, body.progress[r].replicate, window, space + 1)
    slot = mix.first[q] + mix.bounds[r, q, tab.n_classes + 1] - 1
    while body.counts[r, compartment, species] > number:
        if mix.species[r, slot] == species:
            drop_cell(tab, geo, mix, body, r, q, slot)
            slot = mix.first[q] + mix.bounds[r, q, tab.n_classes + 1]
        slot -= 1
    while body.counts[r, compartment, species] < number:
        draw = first_draw + body.counts[r, compartment, species]
        packed = updated_counters(tab, update, np.uint16(0), address, draw, 0)
        new = add_cell(tab, geo, mix, body, r, q, species, packed)
        if tab.has_identity:
            inherit(tab, body, r, mix.identity, -1, mix.identity, new, 0, window, space, now)
