"""Spaces as arrays: patches, directions, balls of offsets."""

from __future__ import annotations

import itertools
import math
from functools import cache
from typing import NamedTuple

import numpy as np

from mst_abm.engine.tables import MAX_RANGE, PATCH, SPACE, TILE, Geometry
from mst_abm.errors import ModelError
from mst_abm.model.definition import Compartment

MAX_SIDE = 65_535  # places are recorded in 16 bits
#: Side of a tile, by dimensions: large, since cells that cross an edge cost several times as much, but
#: within the second cache; and the least, for a lattice that would have few tiles for threads.
USUAL_SIDE = {1: (8192, 1024), 2: (128, 32), 3: (32, 16)}
FOR_THREADS = 4  # tiles along an axis
AXIS_STEPS = [(-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1)]


class Tiling(NamedTuple):
    """How patches are cut into tiles."""

    side: int  # sites, 0 = the usual
    reach: int  # how far a cell acts or looks: tiles of one colour must not meet between them


def directions(dimensions: int, neighbours: int) -> list[tuple[int, int, int]]:
    """Steps to the neighbours of a site: von Neumann (2 d) or Moore (3^d - 1)."""
    if neighbours == 2 * dimensions:
        return AXIS_STEPS[: 2 * dimensions]
    spans = [(-1, 0, 1) if axis < dimensions else (0,) for axis in range(3)]
    steps = [s for s in itertools.product(*spans) if any(s)]
    if neighbours != len(steps):
        raise ModelError(
            f"a {dimensions}-dimensional lattice has {2 * dimensions} or {len(steps)} neighbours, "
            f"got {neighbours}."
        )
    return steps


@cache
def ball_offsets(dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """Offsets within MAX_RANGE sites (Euclidean), nearest first, and how many lie within each R."""
    reach = range(-MAX_RANGE, MAX_RANGE + 1)
    spans = [reach if axis < dimensions else (0,) for axis in range(3)]
    offsets = [
        o for o in itertools.product(*spans) if 0 < sum(c * c for c in o) <= MAX_RANGE * MAX_RANGE
    ]
    offsets.sort(key=lambda o: (sum(c * c for c in o), o))
    counts = [
        sum(1 for o in offsets if sum(c * c for c in o) <= r * r) for r in range(MAX_RANGE + 1)
    ]
    found = np.array(offsets, np.int8), np.array(counts, np.int64)
    for array in found:
        array.flags.writeable = False  # the same for every simulation of a process
    return found


def check_size(c: Compartment) -> None:
    """Refuse lattices whose places have no number."""
    if max(c.shape) > MAX_SIDE:
        raise ModelError(
            f"compartment '{c.name}': a side may have {MAX_SIDE} sites, got {max(c.shape)}."
        )
    sites = math.prod(c.shape)
    if sites >= 2**31:
        raise ModelError(f"compartment '{c.name}': a patch may have 2^31 sites, got {sites}.")


def division_by(n: int) -> tuple[int, int]:
    """Multiplier and shift with (i * multiplier) >> shift == i // n for 0 <= i < 2^31."""
    shift = 31 + max(n - 1, 1).bit_length()
    return -(-(1 << shift) // n), shift


def tile_edges(n: int, sides: tuple[int, int], is_periodic: bool, least: int) -> np.ndarray:
    """Where tiles begin along an axis of n sites, and its end.

    Tiles have about ``sides[0]`` sites, down to ``sides[1]`` where threads would have little to
    share. Sides differ by one at most and are at least ``least``. A ring has an even number of tiles,
    so that neighbours differ in colour; an axis too short for two is one tile.
    """
    step = 2 if is_periodic else 1
    count = max(
        step * round(n / (step * sides[0])), min(FOR_THREADS, step * (n // (step * sides[1])))
    )
    while count > 1 and n // count < least:
        count -= step
    return np.arange(max(count, 1) + 1) * n // max(count, 1)


def cut_into_tiles(edges: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Tiles between the edges along x, y, z, x fastest; and along each axis the tile of a place."""
    counts = [len(e) - 1 for e in edges]
    tiles = np.zeros(math.prod(counts), TILE)
    place = np.indices(counts[::-1])[::-1].reshape(3, -1)
    for axis, name in enumerate("xyz"):
        tiles[name] = edges[axis][place[axis]]
        tiles[f"n{name}"] = np.diff(edges[axis])[place[axis]]
        tiles["colour"] += (place[axis] % 2) << axis
        if axis < 2:
            division = np.array(
                [division_by(int(n)) for n in range(1, int(np.diff(edges[axis]).max()) + 1)]
            )
            tiles[f"magic_{name}"], tiles[f"shift_{name}"] = division[tiles[f"n{name}"] - 1].T
    tiles["last"] = np.cumsum(tiles["nx"] * tiles["ny"] * tiles["nz"])
    tiles["first"][1:] = tiles["last"][:-1]
    along = [np.repeat(np.arange(c), np.diff(e)) for c, e in zip(counts, edges, strict=True)]
    return tiles, np.concatenate(along)


def build_geometry(compartments: tuple[Compartment, ...], tiling: Tiling | None = None) -> Geometry:
    """Arrays of `Geometry` in the order of the compartments; lattices of one body lie in a row.

    Without ``tiling`` every patch is one tile.
    """
    spaces = np.zeros(len(compartments), SPACE)
    direction = np.zeros((len(compartments), 26, 3), np.int8)
    patches: list[tuple[int, int, int, int]] = []
    tiles, along = [np.zeros(0, TILE)], [np.zeros(0, np.int64)]
    mixed = [i for i, c in enumerate(compartments) if c.kind == "mixed"]
    n_units = 0
    for i, c in enumerate(compartments):
        space = spaces[i]
        for name in ("neighbours", "capacity", "share"):
            space[name] = getattr(c, name)
        space["mixed_index"] = mixed.index(i) if i in mixed else -1
        space["room"] = c.volume * c.share / c.spacing**3 if c.volume else 1.0
        space["is_lattice"] = c.kind == "lattice"
        size = [*c.shape, 1, 1, 1][:3]
        is_periodic = [*c.is_periodic, False, False, False][:3]
        for axis, n, ring in zip("xyz", size, is_periodic, strict=True):
            space[f"n{axis}"], space[f"periodic_{axis}"] = n, ring
        if c.kind == "mixed":
            continue
        steps = directions(len(c.shape), c.neighbours)
        direction[i, : len(steps)] = steps
        space["ball_row"] = 3 - len(c.shape)
        space["patches"], space["first_patch"] = c.patches, len(patches)
        check_size(c)
        edges = [np.array([0, n]) for n in size]
        if tiling:
            sides = (tiling.side,) * 2 if tiling.side else USUAL_SIDE[len(c.shape)]
            least = max(2 * tiling.reach, 2)
            edges = [
                tile_edges(n, sides, ring, least) for n, ring in zip(size, is_periodic, strict=True)
            ]
        cut, places = cut_into_tiles(edges)
        space["tile_first"], space["axis_first"] = sum(map(len, tiles)), sum(map(len, along))
        for axis, e in zip("xyz", edges, strict=True):
            space[f"tiles_{axis}"] = len(e) - 1
        tiles.append(cut)
        along.append(places)
        for _ in range(c.patches):
            first = patches[-1][2] if patches else 0
            patches.append((i, first, first + math.prod(c.shape), n_units))
            n_units += len(cut)
    balls = [ball_offsets(d) for d in (3, 2, 1)]
    ball = np.zeros((3, len(balls[0][0]), 3), np.int8)
    for row, (offsets, _) in enumerate(balls):
        ball[row, : len(offsets)] = offsets
    return Geometry(
        spaces=spaces,
        patches=np.array(patches, PATCH),
        n_units=n_units,
        tiles=np.concatenate(tiles),
        tile_along=np.concatenate(along),
        mixed_compartment=np.array(mixed, np.int64),
        direction=direction,
        ball=ball,
        ball_count=np.array([counts for _, counts in balls]),
    )


def coordinates(geometry: Geometry, m: int, sites: np.ndarray) -> tuple[np.ndarray, ...]:
    """x, y, z of increasing sites of a patch of lattice compartment m.

    Tile by tile: 32 bits and divisions by scalars are several times as quick as 64 and remainders.
    """
    space = geometry.spaces[m]
    first = int(space["tile_first"])
    n_tiles = int(space["tiles_x"] * space["tiles_y"] * space["tiles_z"])
    tiles = geometry.tiles[first : first + n_tiles]
    ends = np.append(np.searchsorted(sites, tiles["first"]), len(sites))
    x, y, z = (np.empty(len(sites), np.int32) for _ in range(3))
    for tile, (a, b) in zip(tiles, itertools.pairwise(ends), strict=True):
        nx, ny = np.int32(tile["nx"]), np.int32(tile["ny"])
        local = sites[a:b].astype(np.int32) - np.int32(tile["first"])
        layer = local // (nx * ny)
        rest = local - layer * (nx * ny)
        row = rest // nx
        x[a:b], y[a:b] = rest - row * nx + np.int32(tile["x"]), row + np.int32(tile["y"])
        z[a:b] = layer + np.int32(tile["z"])
    return x, y, z


def sites_at(geometry: Geometry, m: int, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Sites of a patch of lattice compartment m at coordinates."""
    space = geometry.spaces[m]
    axis, along = int(space["axis_first"]), geometry.tile_along
    i, j = along[axis + x], along[axis + space["nx"] + y]
    k = along[axis + space["nx"] + space["ny"] + z]
    number = i + space["tiles_x"] * (j + space["tiles_y"] * k)
    tile = geometry.tiles[int(space["tile_first"]) + number]
    return (
        tile["first"]
        + (x - tile["x"])
        + tile["nx"] * ((y - tile["y"]) + tile["ny"] * (z - tile["z"]))
    )
