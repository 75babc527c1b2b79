"""What static cells of a lattice are to the cells around them, on average over sites.

Anatomy is the one thing about space that mean numbers can know: it does not move. So how many sites are left, how
many of a cell's neighbours are walls, and what laws of static cells come to are measured on one patch.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from mst_abm.engine import tables as T
from mst_abm.engine.place import FAR, Items
from mst_abm.model.compile import CompiledModel


def shifted(mask: np.ndarray, step: tuple[int, int, int], ring: tuple[bool, ...]) -> np.ndarray:
    """``found[site] = mask[site + step]``; False beyond a wall."""
    found = np.roll(mask, [-d for d in step], axis=(0, 1, 2))
    for axis, (d, is_ring) in enumerate(zip(step, ring, strict=True)):
        if d and not is_ring:
            edge: list[slice] = [slice(None)] * 3
            edge[axis] = slice(-d, None) if d > 0 else slice(0, -d)
            found[tuple(edge)] = False
    return found


class Anatomy:
    """Static cells of one lattice compartment at time zero, on a patch like any of its patches.

    Parameters
    ----------
    compiled : without tiles
    items : initial cells
    m : number of the compartment

    Cells whose places are drawn are drawn here once and for all; clusters count as drawn.
    """

    def __init__(self, compiled: CompiledModel, items: Items, m: int) -> None:
        self.compiled, self.m = compiled, m
        space = compiled.geometry.spaces[m]
        self.shape = tuple(int(space[f"n{axis}"]) for axis in "xyz")
        self.ring = tuple(bool(space[f"periodic_{axis}"]) for axis in "xyz")
        self.steps = [
            tuple(map(int, d)) for d in compiled.geometry.direction[m, : space["neighbours"]]
        ]
        static = {t.name for t in compiled.model.types if t.is_static}
        self.is_static = np.array([s.type in static for s in compiled.species])
        patches = int(space["patches"])
        flat = np.zeros(math.prod(self.shape), np.int64)
        #: Cells of each initial item in one patch.
        self.placed: dict[int, float] = {}
        draws = np.random.default_rng(m)
        for i in np.flatnonzero(items.compartment == m):
            species = int(items.species[i])
            total = items.total[i]
            wanted = float(total) / patches if total >= 0 else float(items.amount[i])
            self.placed[int(i)] = wanted
            sites = items.sites[items.site_first[i] : items.site_last[i]]
            if not self.is_static[species]:
                continue
            if not len(sites):
                sites = draws.permutation(len(flat))
            sites = sites[flat[sites] == 0][: round(wanted)]
            flat[sites] = species
            if len(sites) < math.floor(wanted):
                self.placed[int(i)] = float(len(sites))
        # sites are counted x first
        self.species = flat.reshape(self.shape[::-1]).transpose()
        self.is_free = self.species == 0

    @property
    def n_sites(self) -> int:
        """Sites of a patch that static cells leave."""
        return int(self.is_free.sum())

    @property
    def n_static(self) -> int:
        """Static cells of a patch."""
        return self.species.size - self.n_sites

    def _numbers_beside(self, mask: np.ndarray, steps: list[tuple[int, int, int]]) -> np.ndarray:
        found = np.zeros(self.shape, np.int32)
        for step in steps:
            found += shifted(mask, step, self.ring)
        return found

    @cached_property
    def open_share(self) -> float:
        """Of the neighbours of a free site, how many are free sites: walls and static cells are none."""
        if not self.n_sites:
            return 0.0
        beside = self._numbers_beside(self.is_free, self.steps)
        return float(beside[self.is_free].mean()) / len(self.steps)

    def contacts(self, species: int) -> float:
        """Mean number of cells of a static species beside a free site."""
        beside = self._numbers_beside(self.species == species, self.steps)
        return float(beside[self.is_free].mean()) if self.n_sites else 0.0

    def _read(self, modifier: np.void) -> np.ndarray:
        """Value of a modifier that looks at static cells, at every site."""
        kind, target = modifier["kind"], int(modifier["target"])
        if kind == T.NEAR:
            mask = self.compiled.tables.pattern_mask[target][self.species]
            geo = self.compiled.geometry
            row = int(geo.spaces[self.m]["ball_row"])
            count = int(geo.ball_count[row, modifier["reach"]])
            x = self._numbers_beside(mask, [tuple(map(int, o)) for o in geo.ball[row, :count]])
        else:
            name = self.compiled.fields[target][1]
            kinds = np.array([s.type == name for s in self.compiled.species])
            mask = kinds[self.species]
            x = (
                self._distances(mask)
                if kind == T.DISTANCE
                else self._numbers_beside(mask, self.steps)
            )
        values = self.compiled.tables.modifier_values
        return values[modifier["table"] + np.minimum(x, modifier["length"] - 1)]

    def _distances(self, mask: np.ndarray) -> np.ndarray:
        """Steps from every site to the nearest of a mask."""
        found = np.where(mask, 0, FAR)
        reached, front = mask.copy(), mask
        for distance in range(1, FAR):
            if not front.any():
                break
            beside = self._numbers_beside(front, self.steps) > 0
            front = beside & ~reached
            found[front] = distance
            reached |= front
        return found

    def acceptance(self, modifiers: np.ndarray, species: int) -> float:
        """Mean of the product of modifiers that look at static cells.

        Over free sites; for a static actor over its own.
        """
        where = self.species == species if self.is_static[species] else self.is_free
        if not where.any():
            return 0.0
        values = np.ones(int(where.sum()))
        for modifier in modifiers:
            values *= self._read(modifier)[where]
        return float(values.mean())

    def looks_static(self, modifier: np.void) -> bool:
        """Whether a modifier depends on static cells alone."""
        if modifier["kind"] == T.NEAR:
            mask = self.compiled.tables.pattern_mask[modifier["target"]]
            return bool(mask.any() and not np.any(mask & ~self.is_static))
        return modifier["kind"] in (T.DISTANCE, T.SITE)
