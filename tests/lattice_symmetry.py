"""Symmetries of a small lattice: states that a symmetry maps on each other are one state of the chain.

Neighbours and balls of offsets look the same from everywhere and along every axis, so shifts along
periodic axes, mirror images, and exchanges of equal axes change no rate.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable

import numpy as np


def symmetries(size: list[int], ring: list[bool], *, shifts_only: bool = False) -> np.ndarray:
    """Every symmetry as the site that each site's content comes from, (symmetries, sites)."""
    sites = np.arange(int(np.prod(size))).reshape(size[::-1])  # axes z, y, x
    size, ring = size[::-1], ring[::-1]
    found = []
    for shift in itertools.product(
        *(range(n if r else 1) for n, r in zip(size, ring, strict=True))
    ):
        moved = np.roll(sites, shift, axis=(0, 1, 2))
        if shifts_only:
            found.append(moved.ravel())
            continue
        for order in itertools.permutations(range(3)):
            if any((size[a], ring[a]) != (size[b], ring[b]) for a, b in enumerate(order)):
                continue
            turned = moved.transpose(order)
            for mirrored in itertools.product((False, True), repeat=3):
                axes = [a for a in range(3) if mirrored[a]]
                found.append(np.flip(turned, axes).ravel())
    return np.unique(np.array(found), axis=0)


class Representatives:
    """The state that stands for all its images."""

    def __init__(self, images: np.ndarray):
        self.images = images
        self.kinds: dict[Hashable, int] = {}
        self.known: dict[tuple, tuple] = {}

    def of(self, state: tuple) -> tuple:
        """The least image, cells in the order in which they were first met."""
        if state not in self.known:
            numbers = [self.kinds.setdefault(cell, len(self.kinds)) for cell in state]
            rows = np.array(numbers)[self.images].tolist()
            best = self.images[rows.index(min(rows))]
            self.known[state] = tuple(state[site] for site in best.tolist())
        return self.known[state]
