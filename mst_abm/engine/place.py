"""Initial cells, cells that a protocol brings in, and what is derived from where cells stand."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mst_abm.engine import rng
from mst_abm.engine.cells import Address, updated_counters, write_identity
from mst_abm.engine.grid import grid_of, site_at, unfold, view_tile, wrapped
from mst_abm.engine.kernel import driver, keep_apart, kernel
from mst_abm.engine.mixed import add_cell, deliver, drop_cell, inherit
from mst_abm.engine.pin import pin

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
def occupy(tab, patch, site, species, counters, clone):
    """Put an initial cell on a vacant site; ``patch``: any of its tiles."""
    keep_apart()
    patch.counts[0] -= 1
    patch.counts[species] += 1
    patch.species[site] = species
    if tab.has_counters:
        patch.counters[site] = counters
    if tab.has_identity:
        write_identity(patch.identity, site, np.uint64(clone + 1), np.uint64(0), 0.0, clone, 0)


@kernel
def populate_patch(tab, geo, lat, body, items, vacant, seed, r, k, clone):
    """Cells of one patch at time zero; returns (cells that found no room, next clone number).

    ``vacant``: scratch, int32, one entry per site.
    """
    keep_apart()
    compartment = geo.patches[k].compartment
    patch = pin(view_tile(tab, geo, lat, body.counts[r, compartment], body.tally[r], r, k, 0))
    grid = pin(grid_of(geo, compartment))
    n_sites = patch.species.shape[0]
    patch.species[:] = 0
    patch.counts[0] += n_sites
    local = k - geo.spaces[patch.compartment].first_patch
    patches = geo.spaces[patch.compartment].patches
    address = Address(seed, body.progress[r].replicate, 0, patch.unit)
    draw = np.int64(0)
    missing = np.int64(0)
    n_vacant = np.int64(-1)
    for i in range(items.species.shape[0]):
        if items.compartment[i] != patch.compartment:
            continue
        u, _, _ = rng.detail(seed, address.replicate, 0, address.space, draw, rng.PLACING)
        draw += 1
        wanted = amount_of(items, i, local, patches, u)
        if items.site_last[i] > items.site_first[i]:
            for p in range(items.site_first[i], items.site_last[i]):
                site = np.int64(items.sites[p])
                if wanted > 0 and patch.species[site] == 0:
                    packed = updated_counters(tab, items.update[i], np.uint16(0), address, draw, 0)
                    occupy(tab, patch, site, items.species[i], packed, clone)
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
                u, _, _ = rng.detail(seed, address.replicate, 0, address.space, draw, rng.PLACING)
                draw += 1
                centre = min(int(u * n_sites), n_sites - 1)
                x, y, z = unfold(grid, centre)
                span_y = reach if grid.ny > 1 else 0
                span_z = reach if grid.nz > 1 else 0
                for dz in range(-span_z, span_z + 1):
                    for dy in range(-span_y, span_y + 1):
                        for dx in range(-reach, reach + 1):
                            if dx * dx + dy * dy + dz * dz > items.radius[i] ** 2 or wanted == 0:
                                continue
                            site = site_at(geo, grid, x + dx, y + dy, z + dz)
                            if site >= 0 and patch.species[site] == 0:
                                packed = updated_counters(
                                    tab, items.update[i], np.uint16(0), address, draw, 0
                                )
                                occupy(tab, patch, site, items.species[i], packed, clone)
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
            u, _, _ = rng.detail(seed, address.replicate, 0, address.space, draw, rng.PLACING)
            draw += 1
            pick = min(int(u * n_vacant), n_vacant - 1)
            site = np.int64(vacant[pick])
            n_vacant -= 1
            vacant[pick] = vacant[n_vacant]
            packed = updated_counters(tab, items.update[i], np.uint16(0), address, draw, 0)
            occupy(tab, patch, site, items.species[i], packed, clone)
            clone += 1
    return missing, clone


@kernel
def measure_fields(tab, geo, lat, body, field_is_distance, field_mask, queue, r, k):
    """Distance to, or number of neighbours of, a static type at every site of a patch.

    Breadth first over neighbours; ``queue``: scratch, int32, one entry per site, for places counted
    x first through the patch.
    """
    keep_apart()
    compartment = geo.patches[k].compartment
    patch = view_tile(tab, geo, lat, body.counts[r, compartment], body.tally[r], r, k, 0)
    grid = pin(grid_of(geo, compartment))
    direction = geo.direction[compartment]
    n_neighbours = geo.spaces[compartment].neighbours
    for f in range(field_mask.shape[0]):
        values = patch.fields[f]
        values[:] = FAR if field_is_distance[f] else 0
        head = tail = 0
        for place in range(patch.species.shape[0]):
            x, y, z = unfold(grid, place)
            site = site_at(geo, grid, x, y, z)
            if field_mask[f, patch.species[site]]:
                if field_is_distance[f]:
                    values[site] = 0
                queue[tail] = place
                tail += 1
        while head < tail:
            x, y, z = unfold(grid, np.int64(queue[head]))
            head += 1
            site = site_at(geo, grid, x, y, z)
            for d in range(n_neighbours):
                a = wrapped(x + np.int64(direction[d, 0]), grid.nx, grid.periodic_x)
                b = wrapped(y + np.int64(direction[d, 1]), grid.ny, grid.periodic_y)
                c = wrapped(z + np.int64(direction[d, 2]), grid.nz, grid.periodic_z)
                if a < 0 or b < 0 or c < 0:
                    continue
                other = site_at(geo, grid, a, b, c)
                if not field_is_distance[f]:
                    values[other] += 1
                elif values[other] == FAR and values[site] < FAR - 1:
                    values[other] = values[site] + 1
                    queue[tail] = a + grid.nx * (b + grid.ny * c)
                    tail += 1


@kernel
def list_cells(tab, geo, lat, body, r, k, i):
    """Make the list of acting cells of a tile: by class, then by place."""
    keep_apart()
    compartment = geo.patches[k].compartment
    tile = view_tile(tab, geo, lat, body.counts[r, compartment], body.tally[r], r, k, i)
    bounds = tile.listed
    bounds[:] = 0
    for local in range(tile.n):
        c = tab.rows[tile.row + np.int64(tile.species[tile.first + local])].class_of
        if c >= 0:
            bounds[c + 1] += 1
    for c in range(1, tab.n_classes):
        bounds[c + 1] += bounds[c]
    for c in range(tab.n_classes):
        place = bounds[c]
        for local in range(tile.n):
            if tab.rows[tile.row + np.int64(tile.species[tile.first + local])].class_of == c:
                tile.order[place] = local
                tile.where[local] = place
                place += 1
    # the last bound counts waiting cells, of which there are none
    bounds[tab.n_classes + 1] = 0


@kernel
def populate_mixed(tab, geo, mix, body, items, seed, r, clone):
    """Cells of the mixed compartments at time zero; slots must suffice."""
    keep_apart()
    space = geo.n_units
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
                id_ = np.uint64(clone + 1)
                write_identity(mix.identity[r], slot, id_, np.uint64(0), 0.0, clone, 0)
            clone += 1
    return clone


@driver
def populate(
    tab, geo, lat, mix, body, items, field_is_distance, field_mask, vacant, seed, first, last
):
    """Bodies [first, last) at time zero; returns cells that found no vacant site."""
    tab, geo, lat, mix, body, items = pin(tab), pin(geo), pin(lat), pin(mix), pin(body), pin(items)
    missing = np.int64(0)
    for r in range(first, last):
        clone = np.int64(0)
        for k in range(geo.patches.shape[0]):
            lost, clone = populate_patch(tab, geo, lat, body, items, vacant, seed, r, k, clone)
            missing += lost
            if field_mask.shape[0] > 0:
                measure_fields(tab, geo, lat, body, field_is_distance, field_mask, vacant, r, k)
            space = geo.spaces[geo.patches[k].compartment]
            for i in range(space.tiles_x * space.tiles_y * space.tiles_z):
                list_cells(tab, geo, lat, body, r, k, i)
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
    tab, geo, mix, pool, body = pin(tab), pin(geo), pin(mix), pin(pool), pin(body)
    space = geo.n_units
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
            mix.identity[r], -1, window, now,
        )  # fmt: skip
        if status != 0:
            return status, copies
    return status, copies


@driver
def reset_number(
    tab, geo, mix, body, r, compartment, species, update, number, seed, window, now, first_draw
):
    """Bring a species of a mixed compartment to a number; slots must suffice."""
    tab, geo, mix, body = pin(tab), pin(geo), pin(mix), pin(body)
    space = geo.n_units
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
            inherit(tab, body, r, mix.identity[r], -1, mix.identity[r], new, 0, window, space, now)
