"""Sites of a patch: coordinates, neighbours, and the list of acting cells."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mst_abm.engine.kernel import inlined, keep_apart, kernel


class Grid(NamedTuple):
    """One patch's shape. site = x + nx (y + ny z)."""

    nx: int
    ny: int
    nz: int
    periodic_x: bool
    periodic_y: bool
    periodic_z: bool
    magic_x: int
    shift_x: int
    magic_y: int
    shift_y: int


@kernel
def grid_of(geo, compartment):
    space = geo.spaces[compartment]
    return Grid(
        space.nx, space.ny, space.nz,
        space.periodic_x != 0, space.periodic_y != 0, space.periodic_z != 0,
        space.magic_x, space.shift_x, space.magic_y, space.shift_y,
    )  # fmt: skip


@inlined
def locate(grid, site):
    """Coordinates; division by a constant is a multiplication and a shift (20 cycles less)."""
    row = (site * grid.magic_x) >> grid.shift_x
    x = site - row * grid.nx
    z = (row * grid.magic_y) >> grid.shift_y
    return x, row - z * grid.ny, z


@inlined
def wrapped(x, n, is_periodic):
    """x on an axis of n sites, or -1 beyond a wall. Steps are shorter than n."""
    if x < 0:
        return x + n if is_periodic else -1
    if x >= n:
        return x - n if is_periodic else -1
    return x


@inlined
def shifted(grid, x, y, z, dx, dy, dz):
    """Site at an offset, or -1 beyond a wall."""
    x = wrapped(x + dx, grid.nx, grid.periodic_x)
    y = wrapped(y + dy, grid.ny, grid.periodic_y)
    z = wrapped(z + dz, grid.nz, grid.periodic_z)
    if x < 0 or y < 0 or z < 0:
        return -1
    return x + grid.nx * (y + grid.ny * z)


@kernel
def count_within(grid, species, mask, ball, n, site):
    """Cells of a pattern at the first n offsets of the ball around a site."""
    keep_apart()
    x, y, z = locate(grid, site)
    total = 0
    for i in range(n):
        other = shifted(
            grid, x, y, z, np.int64(ball[i, 0]), np.int64(ball[i, 1]), np.int64(ball[i, 2])
        )
        if other >= 0 and mask[species[other]]:
            total += 1
    return total


@inlined
def enlist(order, where, bounds, n_classes, c, site):
    """Add a site to class c: every later segment passes its first entry to its end."""
    hole = bounds[n_classes]
    for q in range(n_classes - 1, c, -1):
        first = bounds[q]
        if first != hole:
            moved = order[first]
            order[hole] = moved
            where[moved] = hole
        hole = first
        bounds[q + 1] += 1
    order[hole] = site
    where[site] = hole
    bounds[c + 1] += 1


@inlined
def delist(order, where, bounds, n_classes, c, site):
    """Remove a site from class c: the hole travels to the end through segment ends."""
    hole = where[site]
    for q in range(c, n_classes):
        last = bounds[q + 1] - 1
        if hole != last:
            moved = order[last]
            order[hole] = moved
            where[moved] = hole
        hole = last
        bounds[q + 1] = last
