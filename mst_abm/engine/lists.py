"""The list of a tile's acting cells: a segment per rate class, sites found by ``where``.

Adding to a class or removing from it moves one entry per later class, whatever their number. At the
right end of the same array stand the cells that wait, in no class.
"""

from __future__ import annotations

from mst_abm.engine.kernel import inlined


@inlined
def fill(order, where, hole, place):
    """Move the entry at a place into the hole; returns where the hole is then."""
    if hole != place:
        moved = order[place]
        order[hole] = moved
        where[moved] = hole
    return place


@inlined
def enlist(order, where, bounds, n_classes, c, local):
    """Add a site to class c: every later segment passes its first entry to its end."""
    hole = bounds[n_classes]
    for q in range(n_classes - 1, c, -1):
        hole = fill(order, where, hole, bounds[q])
        bounds[q + 1] += 1
    order[hole] = local
    where[local] = hole
    bounds[c + 1] += 1


@inlined
def delist(order, where, bounds, n_classes, c, local):
    """Remove a site from class c: the hole travels to the end through segment ends."""
    hole = where[local]
    for q in range(c, n_classes):
        hole = fill(order, where, hole, bounds[q + 1] - 1)
        bounds[q + 1] = hole


@inlined
def reclass(order, where, bounds, before, after, local):
    """Pass a site from one class to another: what `delist` and `enlist` do, without the segments
    beyond both, which would be shifted and shifted back.
    """
    hole = where[local]
    for q in range(before, after):
        hole = fill(order, where, hole, bounds[q + 1] - 1)
        bounds[q + 1] = hole
    hole = fill(order, where, hole, bounds[max(before, after) + 1] - 1)
    for q in range(before, after, -1):
        hole = fill(order, where, hole, bounds[q])
        bounds[q] = hole + 1
    order[hole] = local
    where[local] = hole


@inlined
def first_waiting(tile, n_classes):
    """Left end of the waiting cells in ``order``."""
    return tile.n - tile.listed[n_classes + 1]


@inlined
def add_waiting(tile, n_classes, local):
    place = first_waiting(tile, n_classes) - 1
    tile.order[place] = local
    tile.where[local] = place
    tile.listed[n_classes + 1] += 1


@inlined
def drop_waiting(tile, n_classes, place):
    """Remove the waiting cell at a place: the one that came last takes it."""
    fill(tile.order, tile.where, place, first_waiting(tile, n_classes))
    tile.listed[n_classes + 1] -= 1
