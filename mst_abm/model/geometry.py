"""Spaces as arrays: patches, directions, balls of offsets."""

from __future__ import annotations

import itertools
import math

import numpy as np

from mst_abm.engine.tables import MAX_RANGE, PATCH, SPACE, Geometry
from mst_abm.errors import ModelError
from mst_abm.model.definition import Compartment

MAX_SIDE = 65_535  # places are recorded in 16 bits
AXIS_STEPS = [(-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1)]


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
    return np.array(offsets, np.int8), np.array(counts, np.int64)


def division_by(n: int) -> tuple[int, int]:
    """Multiplier and shift with (i * multiplier) >> shift == i // n for 0 <= i < 2^31."""
    shift = 31 + max(n - 1, 1).bit_length()
    return -(-(1 << shift) // n), shift


def build_geometry(compartments: tuple[Compartment, ...]) -> Geometry:
    """Arrays of `Geometry` in the order of the compartments; lattices of one body lie in a row."""
    spaces = np.zeros(len(compartments), SPACE)
    direction = np.zeros((len(compartments), 26, 3), np.int8)
    patches: list[tuple[int, int, int]] = []
    mixed = [i for i, c in enumerate(compartments) if c.kind == "mixed"]
    for i, c in enumerate(compartments):
        space = spaces[i]
        for name in ("neighbours", "capacity", "share"):
            space[name] = getattr(c, name)
        space["mixed_index"] = mixed.index(i) if i in mixed else -1
        space["room"] = c.volume * c.share / c.spacing**3 if c.volume else 1.0
        space["is_lattice"] = c.kind == "lattice"
        size = [*c.shape, 1, 1, 1][:3]
        for axis, n, is_periodic in zip("xyz", size, [*c.is_periodic, 0, 0, 0], strict=False):
            space[f"n{axis}"], space[f"periodic_{axis}"] = n, is_periodic
            if axis != "z":
                space[f"magic_{axis}"], space[f"shift_{axis}"] = division_by(n)
        if c.kind == "mixed":
            continue
        steps = directions(len(c.shape), c.neighbours)
        direction[i, : len(steps)] = steps
        space["ball_row"] = 3 - len(c.shape)
        space["patches"], space["first_patch"] = c.patches, len(patches)
        if max(c.shape) > MAX_SIDE:
            raise ModelError(
                f"compartment '{c.name}': a side may have {MAX_SIDE} sites, got {max(c.shape)}."
            )
        sites = math.prod(c.shape)
        if sites >= 2**31:
            raise ModelError(f"compartment '{c.name}': a patch may have 2^31 sites, got {sites}.")
        for _ in range(c.patches):
            first = patches[-1][2] if patches else 0
            patches.append((i, first, first + sites))
    balls = [ball_offsets(d) for d in (3, 2, 1)]
    ball = np.zeros((3, len(balls[0][0]), 3), np.int8)
    for row, (offsets, _) in enumerate(balls):
        ball[row, : len(offsets)] = offsets
    return Geometry(
        spaces=spaces,
        patches=np.array(patches, PATCH),
        mixed_compartment=np.array(mixed, np.int64),
        direction=direction,
        ball=ball,
        ball_count=np.array([counts for _, counts in balls]),
    )
