"""Places on a patch: coordinates, tiles, neighbours.

A patch is cut into boxes, its tiles, and stored tile after tile; in exact mode it is one tile. A
*site* is a number within the patch, a *local* number one within the tile. A step that stays within
the tile is arithmetic; one that leaves it looks the tile up.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mst_abm.engine.kernel import inlined, keep_apart, kernel


class Grid(NamedTuple):
    """The shape of a patch and where its tiles are described."""

    nx: int
    ny: int
    nz: int
    periodic_x: bool
    periodic_y: bool
    periodic_z: bool
    tiles_x: int
    tiles_y: int
    tiles_z: int
    tile_first: int
    axis_first: int


class Tile(NamedTuple):
    """One tile: where it lies, and views of its patch's and its own arrays.

    local = x + nx (y + ny z) with coordinates counted from the tile's lowest corner.
    """

    compartment: int
    row: int  # first row of the compartment
    unit: int  # its number among the tiles of a body: address of its draws
    patch: int  # number of its patch within the compartment
    first: int  # its first site in the patch
    n: int
    x: int
    y: int
    z: int
    nx: int
    ny: int
    nz: int
    magic_x: int
    shift_x: int
    magic_y: int
    shift_y: int
    # of the patch, by site
    species: np.ndarray
    counters: np.ndarray
    stamp: np.ndarray
    fields: np.ndarray
    identity: np.ndarray
    sensed: np.ndarray  # of the body
    # of the tile, by local number or class
    where: np.ndarray
    order: np.ndarray
    acting: np.ndarray  # bounds of the classes that act in this turn
    listed: np.ndarray  # bounds of the classes whose clock is the tile's, and the number waiting
    # of the body
    counts: np.ndarray
    tally: np.ndarray


@kernel
def grid_of(geo, compartment):
    space = geo.spaces[compartment]
    return Grid(
        space.nx, space.ny, space.nz,
        space.periodic_x != 0, space.periodic_y != 0, space.periodic_z != 0,
        space.tiles_x, space.tiles_y, space.tiles_z, space.tile_first, space.axis_first,
    )  # fmt: skip


@kernel
def view_tile(tab, geo, lat, counts, tally, r, k, i):
    """Tile i of patch k of body r; counts and tally: rows that its events change."""
    compartment = geo.patches[k].compartment
    lo, hi = geo.patches[k].first, geo.patches[k].last
    unit = geo.patches[k].unit + i
    box = geo.tiles[geo.spaces[compartment].tile_first + i]
    first, last = lo + box.first, lo + box.last
    bounds = lat.bounds[r, unit]
    return Tile(
        compartment, compartment * tab.n_species, unit,
        k - geo.spaces[compartment].first_patch, box.first, box.last - box.first,
        box.x, box.y, box.z, box.nx, box.ny, box.nz,
        box.magic_x, box.shift_x, box.magic_y, box.shift_y,
        lat.species[r, lo:hi],
        lat.counters[r, lo:hi] if tab.has_counters else lat.counters[r, 0:1],
        lat.stamp[r, lo:hi] if lat.stamp.shape[1] > 1 else lat.stamp[r, 0:1],
        lat.fields[:, r, lo:hi],
        lat.identity[r, lo:hi] if tab.has_identity else lat.identity[r, 0:1],
        lat.sensed[r],
        lat.where[r, first:last], lat.order[r, first:last], bounds, bounds,
        counts, tally,
    )  # fmt: skip


@inlined
def locate(tile, local):
    """Coordinates within the tile; division by a constant is a product and a shift (20 cycles less)."""
    row = (local * tile.magic_x) >> tile.shift_x
    x = local - row * tile.nx
    z = (row * tile.magic_y) >> tile.shift_y
    return x, row - z * tile.ny, z


@inlined
def wrapped(x, n, is_periodic):
    """x on an axis of n sites, or -1 beyond a wall. Steps are shorter than n."""
    if x < 0:
        return x + n if is_periodic else -1
    if x >= n:
        return x - n if is_periodic else -1
    return x


@kernel
def tile_at(geo, grid, x, y, z):
    """Number within the patch of the tile that holds a place."""
    axis = grid.axis_first
    i = geo.tile_along[axis + x]
    j = geo.tile_along[axis + grid.nx + y]
    k = geo.tile_along[axis + grid.nx + grid.ny + z]
    return i + grid.tiles_x * (j + grid.tiles_y * k)


@kernel
def site_at(geo, grid, x, y, z):
    """Site at coordinates of the patch, or -1 beyond a wall."""
    keep_apart()
    x = wrapped(x, grid.nx, grid.periodic_x)
    y = wrapped(y, grid.ny, grid.periodic_y)
    z = wrapped(z, grid.nz, grid.periodic_z)
    if x < 0 or y < 0 or z < 0:
        return np.int64(-1)
    box = geo.tiles[grid.tile_first + tile_at(geo, grid, x, y, z)]
    return box.first + (x - box.x) + box.nx * ((y - box.y) + box.ny * (z - box.z))


@inlined
def shifted(geo, grid, tile, x, y, z, dx, dy, dz):
    """Site at an offset from a place of the tile, or -1 beyond a wall."""
    x, y, z = x + dx, y + dy, z + dz
    if 0 <= x < tile.nx and 0 <= y < tile.ny and 0 <= z < tile.nz:
        return tile.first + x + tile.nx * (y + tile.ny * z)
    return site_at(geo, grid, tile.x + x, tile.y + y, tile.z + z)


@kernel
def unfold(grid, place):
    """Coordinates of a place counted x first through the patch, whatever its tiles."""
    return place % grid.nx, place // grid.nx % grid.ny, place // (grid.nx * grid.ny)


@kernel
def tile_of(geo, grid, site):
    """Number within the patch of the tile that holds a site."""
    keep_apart()
    low, high = 0, grid.tiles_x * grid.tiles_y * grid.tiles_z
    while high - low > 1:
        middle = (low + high) >> 1
        if geo.tiles[grid.tile_first + middle].first <= site:
            low = middle
        else:
            high = middle
    return low


@kernel
def count_within(geo, grid, tile, mask, ball, n, local):
    """Cells of a pattern at the first n offsets of the ball around a place of the tile."""
    keep_apart()
    x, y, z = locate(tile, local)
    total = 0
    for i in range(n):
        other = shifted(
            geo, grid, tile, x, y, z,
            np.int64(ball[i, 0]), np.int64(ball[i, 1]), np.int64(ball[i, 2]),
        )  # fmt: skip
        if other >= 0 and mask[tile.species[other]]:
            total += 1
    return total
