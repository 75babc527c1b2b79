"""Fields through the eyes of cells: what they add to a block, and what they read of it.

A field is known on blocks of sites, per patch (`mst_abm.engine.diffusion` spreads it). Within an
exchange interval cells read its mean over that interval, in the shape their rules need: a
modifier's factor over its bound, or the bias of a step, each worked out once a block and interval.

A biased step: with bias b at the cell's block, |b| < 1, and e the unit vector along a step,

    P(step) = (1 + b . e) / neighbours

Directions come in opposite pairs, so these sum to 1, whatever b: the rate of tries is untouched.
"""

from __future__ import annotations

import math

import numpy as np

from mst_abm.engine import rng
from mst_abm.engine.grid import locate, wrapped
from mst_abm.engine.kernel import driver, keep_apart, kernel
from mst_abm.engine.pin import pin
from mst_abm.engine.signals import law


@kernel
def sensed_place(tab, tile, reading, local):
    """Where in ``tile.sensed`` a reading's numbers stand for a place of the tile."""
    keep_apart()
    x, y, z = locate(tile, local)
    medium = tab.media[tab.readings[reading].medium]
    side, nx, ny, nz = medium.side, medium.nx, medium.ny, medium.nz
    block = (tile.x + x) // side + nx * ((tile.y + y) // side + ny * ((tile.z + z) // side))
    blocks = tile.patch * nx * ny * nz + block
    return tab.readings[reading].first + tab.readings[reading].numbers * blocks


@kernel
def turns_round(tab, tile, ch, local, dx, dy, dz, address, candidate):
    """Whether a biased step along (dx, dy, dz), drawn uniformly, is taken the other way.

    With probability (1 - b . e) / 2: a step is then drawn, or made of its opposite, in
    proportion to 1 + b . e.
    """
    keep_apart()
    place = sensed_place(tab, tile, tab.channels[ch].steer, local)
    bias = tile.sensed[place] * dx + tile.sensed[place + 1] * dy + tile.sensed[place + 2] * dz
    bias /= math.sqrt(np.float64(dx * dx + dy * dy + dz * dz))
    u, _, _ = rng.detail(
        address.seed, address.replicate, address.window, address.space, candidate, rng.DETAIL
    )
    return u < 0.5 * (1.0 - bias)


@driver
def count_yields(tab, geo, lat, medium, r, income):
    """Level per hour that the cells of a body add to every block. Changes: income (patches, blocks).

    Cells are added up in the order of their sites, so that the sum does not hang on threads.
    """
    tab, geo, lat = pin(tab), pin(geo), pin(lat)
    space = geo.spaces[tab.media[medium].compartment]
    side, nx, ny = tab.media[medium].side, tab.media[medium].nx, tab.media[medium].ny
    income[:] = 0.0
    for p in range(space.patches):
        patch = geo.patches[space.first_patch + p]
        for i in range(space.tiles_x * space.tiles_y * space.tiles_z):
            box = geo.tiles[space.tile_first + i]
            site = patch.first + box.first
            for z in range(box.z, box.z + box.nz):
                for y in range(box.y, box.y + box.ny):
                    row = nx * (y // side + ny * (z // side))
                    for x in range(box.x, box.x + box.nx):
                        s = lat.species[r, site]
                        if s != 0:
                            income[p, row + x // side] += tab.yields[medium, s]
                        site += 1


@kernel
def slope_along(levels, at, here, n, stride, width, is_periodic):
    """Central difference over blocks along an axis; at a wall the block itself stands beyond it."""
    low, high = wrapped(at - 1, n, is_periodic), wrapped(at + 1, n, is_periodic)
    below = levels[here + (low - at) * stride] if low >= 0 else levels[here]
    above = levels[here + (high - at) * stride] if high >= 0 else levels[here]
    return (above - below) / (2.0 * width)


@driver
def read_levels(tab, geo, lat, reading, r, means):
    """Numbers of one reading for every block, from mean levels (patches, blocks).

    Changes: lat.sensed.
    """
    tab, geo, lat = pin(tab), pin(geo), pin(lat)
    reads = tab.readings[reading]
    medium = tab.media[reads.medium]
    space = geo.spaces[medium.compartment]
    nx, ny, nz, width = medium.nx, medium.ny, medium.nz, medium.width
    place = reads.first
    for p in range(means.shape[0]):
        levels = means[p]
        for block in range(nx * ny * nz):
            if reads.numbers == 1:
                lat.sensed[r, place] = law(tab, reads.term, levels[block]) / reads.bound
                place += 1
                continue
            x, y, z = block % nx, block // nx % ny, block // (nx * ny)
            gx = slope_along(levels, x, block, nx, 1, width, space.periodic_x != 0)
            gy = slope_along(levels, y, block, ny, nx, width, space.periodic_y != 0)
            gz = slope_along(levels, z, block, nz, nx * ny, width, space.periodic_z != 0)
            steep = math.sqrt(gx * gx + gy * gy + gz * gz)
            scale = reads.strength / (steep + reads.half)
            lat.sensed[r, place] = scale * gx
            lat.sensed[r, place + 1] = scale * gy
            lat.sensed[r, place + 2] = scale * gz
            place += 3
